// The page: puts the map, Netron and the panels together around one state.

import { Atlas } from "./atlas.js";
import { comparePanel } from "./comparing.js";
import { el, recall, remember, swap } from "./dom.js";
import { blob, download, stamped, standalone } from "./exporting.js";
import { buildFrame, drawCrumbs, drawTabs, fillBar, listenToKeys } from "./frame.js";
import { GraphFrame } from "./graph.js";
import { legend } from "./legend.js";
import { drawMaps } from "./mapview.js";
import { outline } from "./outline.js";
import { aboutPanel, attentionPanel, shapesPanel, timePanel } from "./panels.js";
import { moduleErrors, parityPanel } from "./parity.js";
import { roleLabel } from "./roles.js";
import { Sampling } from "./sampling.js";
import { State } from "./state.js";
import { litEverywhere } from "./trace.js";
import { traced, tracePanel } from "./tracepanel.js";

const PANELS = {
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
    this.graphs = [];
    this.atlases = [];
    this.comparison = about.comparison ?? null;
    this.errors = moduleErrors(about.report ?? {});
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
    if (!this.offline) {
      window.atlasPayloads = asked;
      this.needGraph(Math.min(Number(this.state.current.model) || 0, models.length - 1));
    }
    const data = await Promise.all(asked);
    this.atlases = data.map((one) => new Atlas(one));
    fillBar(this);
    this.normalise();
    this.state.listen(() => this.render());
    listenToKeys(this);
    document.documentElement.dataset.ready ??= "map";
    if (this.atlases.length > 1 && !this.comparison) {
      this.comparison = await get("/compare.json");
      this.render();
    }
  }

  needGraph(index) {
    if (this.offline || this.graphs[index] || this.shown.models[index].large) {
      return;
    }
    const mine = (act) => (argument) =>
      this.atlases.length > 0 && index === this.index && act(argument);
    const graph = new GraphFrame(index, this.shown.models[index].name, this.shown.netron, {
      opened: mine((scope) => this.netronOpened(scope)),
      selected: mine((id) => this.netronSelected(id)),
      search: () => document.getElementById("search").focus(),
      shown: () => {
        document.documentElement.dataset.ready = "graph";
      },
    });
    graph.theme(this.dark ?? window.matchMedia("(prefers-color-scheme: dark)").matches);
    this.graphs[index] = graph;
    this.parts.graphs.append(graph.element);
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

  // Netron's functions around a node; groups of a flat file have none of their own.
  chainOf(id) {
    return id === null
      ? []
      : [...this.atlas.ancestors(id), id].filter(
          (one) => this.atlas.nodes[one].kind === "call",
        );
  }

  netronOpened(scope) {
    if ((this.chainOf(this.scope).at(-1) ?? null) !== scope) {
      this.graphs[this.index].at(this.chainOf(scope), null);
      this.state.set({ open: scope === null ? "" : this.atlas.nodes[scope].path, select: "" });
    }
  }

  netronSelected(id) {
    this.graphs[this.index].at(this.chainOf(this.atlas.nodes[id].parent), id);
    this.state.set(this.place(id));
  }

  toggleRole(role) {
    this.hidden[this.hidden.has(role) ? "delete" : "add"](role);
    this.render();
  }

  toggleNumbers() {
    this.numbers = !this.numbers;
    remember("numbers", this.numbers ? "1" : "0");
    this.parts.numbers.setAttribute("aria-pressed", String(this.numbers));
    this.render();
  }

  async compareWeights() {
    this.weighing = true;
    this.render();
    this.weights = await get("/compare/weights.json");
    this.weighing = false;
    this.render();
  }

  async exportAs(menu) {
    const [kind, format] = menu.value.split("-");
    menu.value = "";
    const name = `${this.atlas.name.replace(/[^\w.-]+/g, "_")}${kind === "page" ? "" : `-${kind}`}.${format}`;
    if (kind === "page") {
      download(name, await (await fetch("/offline.html")).blob());
      return;
    }
    const figure = await this.figure(kind);
    if (figure) {
      download(name, await blob(figure, format));
    } else {
      this.say("This panel has no figure: open Attention or Time.");
    }
  }

  async figure(kind) {
    const note = this.atlas.weights_note;
    if (kind === "graph") {
      return stamped(await this.graphs[this.index].figure(), note);
    }
    const found =
      kind === "map"
        ? this.parts.maps.querySelector(".current svg.map")
        : this.parts.panel.querySelector("svg.figure");
    return found && stamped(standalone(found), note);
  }

  say(text) {
    this.parts.live.textContent = text;
  }

  render() {
    const { parts } = this;
    this.needGraph(this.index);
    const found = traced(this);
    this.lit = found && !found.none ? litEverywhere(this.atlas, found) : null;
    drawMaps(this);
    swap(parts.legend, legend(this));
    this.drawPanel();
    drawCrumbs(this);
    this.drawSides();
    this.syncGraph();
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
    swap(panel, PANELS[now][1](this));
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

  syncGraph() {
    this.graphs.forEach((graph, index) =>
      graph?.element.classList.toggle("current", index === this.index),
    );
    const graph = this.graphs[this.index];
    if (graph) {
      graph.paint(this.lit, this.hidden);
      graph.show(
        this.chainOf(this.scope),
        this.state.current.select ? this.focus : this.firstOfGroup(),
      );
    }
  }

  // In a flat file, standing in a group means standing at its first operator.
  firstOfGroup() {
    const node = this.atlas.nodes[this.scope];
    return node?.kind === "group"
      ? this.atlas.inside(node.id).find((id) => this.atlas.nodes[id].kind === "op")
      : null;
  }
}

async function get(address) {
  return (await fetch(address)).json();
}

// A headless browser draws one view and hands it back to the viewer that started it.
async function deliver(app, order) {
  const kind = order.get("export");
  while (kind === "graph" && document.documentElement.dataset.ready !== "graph") {
    await new Promise((resolve) => {
      window.setTimeout(resolve, 50);
    });
  }
  const figure = await app.figure(kind);
  const body = figure ? await blob(figure, order.get("format")) : "";
  await fetch(`/export/${order.get("token")}`, { method: "POST", body });
}

const page = new App(JSON.parse(document.getElementById("shown").textContent));
await page.start();
const wish = new URLSearchParams(window.location.search);
if (wish.has("export")) {
  await deliver(page, wish);
}
