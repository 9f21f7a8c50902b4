// The page: puts the map, Netron and the panels together around one state.

import { Atlas } from "./atlas.js";
import { attentionPanel } from "./attentionpanel.js";
import { fillBar } from "./bar.js";
import { comparePanel } from "./comparing.js";
import { deliver, exportAs, figure } from "./delivering.js";
import { el, recall, redraw, remember, swap } from "./dom.js";
import { buildFrame, drawCrumbs, drawFold, drawTabs, listenToKeys } from "./frame.js";
import { Graphs } from "./graphs.js";
import { legend } from "./legend.js";
import { drawMaps } from "./mapview.js";
import { outline } from "./outline.js";
import { aboutPanel, shapesPanel } from "./panels.js";
import { moduleErrors, parityPanel } from "./parity.js";
import { ask, askPanel } from "./questions.js";
import { roleLabel } from "./roles.js";
import { Sampling } from "./sampling.js";
import { applySize, sizeBox } from "./sizebox.js";
import { State } from "./state.js";
import { timePanel } from "./timepanel.js";
import { follow, litByStory, tell, told } from "./telling.js";
import { litEverywhere } from "./trace.js";
import { traced, tracePanel } from "./tracepanel.js";

const PANELS = {
  ask: ["Questions", askPanel],
  about: ["About", aboutPanel],
  attention: ["Attention", attentionPanel],
  time: ["Time", timePanel],
  shapes: ["Shapes", shapesPanel],
  trace: ["Trace", tracePanel],
  sample: ["Sample", (app) => app.sampling.view()],
  parity: ["Parity", parityPanel],
  compare: ["Compare", comparePanel],
};

class App {
  constructor(about) {
    this.shown = about;
    this.offline = Boolean(about.atlases);
    this.state = new State();
    this.numbers = recall("numbers") === "1";
    this.hidden = new Set();
    this.graphs = new Graphs(this);
    this.atlases = [];
    this.comparison = about.comparison ?? null;
    this.errors = moduleErrors(about.report ?? {});
    this.folded = true;
    this.side = this.offline || about.models.some((one) => one.large) ? "outline" : "graph";
    this.parts = buildFrame(about.models.length > 1);
    this.sampling = new Sampling(this);
  }

  get index() {
    return Math.min(Number(this.state.current.model) || 0, this.atlases.length - 1);
  }

  get atlas() {
    return this.atlases[this.index];
  }

  // The call that is open; null for the whole graph.
  get scope() {
    return this.atlas.byPath.get(this.state.current.open)?.id ?? null;
  }

  // What is selected, else what is open.
  get focus() {
    const { open, select } = this.state.current;
    return this.atlas.byPath.get([open, select].filter(Boolean).join("/"))?.id ?? null;
  }

  async start() {
    const { models } = this.shown;
    document.title = `${models.map((one) => one.name).join(" and ")} – UNet Atlas`;
    const asked = this.offline
      ? this.shown.atlases
      : models.map((_, index) => get(`/m/${index}/atlas.json`));
    const first = Math.min(Number(this.state.current.model) || 0, models.length - 1);
    if (!this.offline) {
      window.atlasPayloads = asked;
    }
    this.graphs.need(first); // it loads while the map is made, and is there when it is asked for
    const data = await Promise.all(asked);
    this.atlases = data.map((one) => new Atlas(one));
    fillBar(this);
    this.normalise();
    this.state.listen((now, before) => {
      const moved = now.open !== before.open || now.select !== before.select;
      this.folded = this.folded && !(moved && (now.open || now.select));
      this.render();
    });
    listenToKeys(this);
    this.watchWidth();
    document.documentElement.dataset.ready ??= "map";
    this.graphs.need(this.index);
    this.graphs.sync();
    if (this.atlases.length > 1 && !this.comparison) {
      this.comparison = await get("/compare.json");
      this.render();
    }
  }

  // The map is drawn for the width it has.
  watchWidth() {
    new ResizeObserver(() => {
      if (Math.abs(this.parts.maps.clientWidth - this.mapWidth) > 1) {
        drawMaps(this);
      }
    }).observe(this.parts.maps);
  }

  has(tab) {
    return tab in PANELS;
  }

  asks(id) {
    ask(this, id);
  }

  tellIn(index, story) {
    this.state.set({ model: String(index) }, true);
    tell(this, story);
  }

  unfold(folded = false) {
    this.folded = folded;
    this.render();
  }

  // A deep link may name an operator: its call is opened and it is selected there. Of a path
  // that does not exist, as much is opened as does.
  normalise() {
    const { open, select } = this.state.current;
    const parts = open.split("/");
    const known = parts
      .map((_, at) => parts.slice(0, parts.length - at).join("/"))
      .find((path) => this.atlas.byPath.has(path));
    const node = this.atlas.byPath.get(known);
    if (open && open !== known) {
      this.state.set({ open: known ?? "", select: "" }, true);
    }
    if (node && node.children.length === 0) {
      this.state.set(this.place(node.id), true);
    } else if (select && this.focus === null) {
      this.state.set({ select: "" }, true);
    }
  }

  place(id) {
    const { parent } = this.atlas.nodes[id];
    return {
      open: parent === null ? "" : this.atlas.nodes[parent].path,
      select: this.atlas.segment(id),
    };
  }

  // Goes to a node: into a call, or to an operator where it stands.
  go(id) {
    const node = this.atlas.nodes[id];
    this.state.set(
      node.children.length > 0 ? { open: node.path, select: "" } : this.place(id),
    );
  }

  goIn(index, id) {
    this.state.set({ model: String(index) }, true);
    this.go(id);
  }

  toggleRole(role) {
    this.hidden[this.hidden.has(role) ? "delete" : "add"](role);
    this.render();
  }

  toggleNumbers() {
    this.numbers = !this.numbers;
    remember("numbers", this.numbers ? "1" : "0");
    this.render();
  }

  async compareWeights() {
    this.weighing = true;
    this.render();
    this.weights = await get("/compare/weights.json");
    this.weighing = false;
    this.render();
  }

  exportAs(menu) {
    return exportAs(this, menu);
  }

  figure(kind) {
    return figure(this, kind);
  }

  say(text) {
    this.parts.live.textContent = text;
  }

  render() {
    const { parts } = this;
    if (!this.folded || this.graphs.any) {
      this.graphs.need(this.index);
    }
    applySize(this);
    drawFold(this);
    const story = told(this);
    const found = story ? null : traced(this);
    const path = found && !found.none ? litEverywhere(this.atlas, found) : null;
    this.lit = story ? litByStory(this.atlas, story) : path;
    redraw(parts.sizes, () => sizeBox(this));
    drawMaps(this);
    redraw(parts.legend, () => legend(this));
    this.drawPanel();
    follow(this, story);
    drawCrumbs(this);
    this.drawSides();
    this.graphs.sync();
    const node = this.atlas.nodes[this.focus];
    this.say(node ? `${node.path}, ${roleLabel(node.role)}` : "The whole UNet");
  }

  drawPanel() {
    const known = Object.entries(PANELS).filter(
      ([name]) => name !== "compare" || this.atlases.length > 1,
    );
    const names = Object.fromEntries(known.map(([name, [title]]) => [name, title]));
    const now = this.state.current.tab in names ? this.state.current.tab : "about";
    drawTabs(this, names, now);
    const { panel } = this.parts;
    const top = panel.dataset.tab === now ? panel.scrollTop : 0;
    redraw(panel, () => PANELS[now][1](this));
    panel.dataset.tab = now;
    document.documentElement.dataset.tab = now;
    panel.scrollTop = top;
  }

  drawSides() {
    const { parts } = this;
    const pick = (side, name) =>
      el(
        "button",
        {
          type: "button",
          "aria-pressed": String(this.side === side),
          onclick: () => {
            this.side = side;
            this.render();
          },
        },
        name,
      );
    swap(
      parts.sides,
      this.offline || this.shown.models[this.index].large
        ? null
        : [pick("graph", "Graph"), pick("outline", "Outline")],
    );
    parts.outline.hidden = this.side !== "outline";
    swap(parts.outline, this.side === "outline" ? outline(this) : null);
  }
}

async function get(address) {
  return (await fetch(address)).json();
}

const page = new App(JSON.parse(document.getElementById("shown").textContent));
await page.start();
const wish = new URLSearchParams(window.location.search);
if (wish.has("export")) {
  await deliver(page, wish);
}
