// The page: puts the map, Netron and the panels together around one state.

import { Atlas } from "./atlas.js";
import { comparePanel, marks } from "./comparing.js";
import { el, recall, remember, swap } from "./dom.js";
import { blob, download, standalone } from "./exporting.js";
import { GraphFrame } from "./graph.js";
import { legend } from "./legend.js";
import { blockOf, drawMap } from "./map.js";
import { about, shapeOf } from "./nodes.js";
import { compact, share } from "./numbers.js";
import { outline } from "./outline.js";
import { attentionPanel, shapesPanel, timePanel } from "./panels.js";
import { moduleErrors, parityPanel, severity } from "./parity.js";
import { roleLabel } from "./roles.js";
import { searchBox } from "./search.js";
import { State } from "./state.js";
import { litEverywhere } from "./trace.js";
import { traced, tracePanel } from "./tracepanel.js";

const PANELS = { about: ["About", null], attention: ["Attention", attentionPanel], time: ["Time", timePanel], shapes: ["Shapes", shapesPanel],
  trace: ["Trace", tracePanel], parity: ["Parity", parityPanel], compare: ["Compare", comparePanel] };

class App {
  constructor(session) {
    this.session = session;
    this.offline = Boolean(session.atlases);
    this.state = new State();
    this.numbers = recall("numbers") === "1";
    this.hidden = new Set();
    this.graphs = [];
    this.atlases = [];
    this.comparison = session.comparison ?? null;
    this.errors = moduleErrors(session.report ?? {});
    this.side = this.offline ? "outline" : "graph";
    this.parts = {};
  }

  get index() {
    return Math.min(Number(this.state.current.model) || 0, this.atlases.length - 1);
  }

  get atlas() {
    return this.atlases[this.index];
  }

  get scope() {
    return this.atlas.byPath.get(this.state.current.open)?.id ?? null;
  }

  get focus() {
    const { open, select } = this.state.current;
    const path = [open, select].filter(Boolean).join("/");
    return this.atlas.byPath.get(path)?.id ?? null;
  }

  async start() {
    document.title = `${this.session.models.map((one) => one.name).join(" and ")} – UNet Atlas`;
    this.frame();
    if (!this.offline) {
      this.graphs = this.session.models.map((one, index) => (index === this.index || index === 0 ? this.graph(index) : null));
    }
    const data = this.offline ? this.session.atlases
      : await Promise.all(this.session.models.map((_, index) => fetch(`/m/${index}/atlas.json`).then((response) => response.json())));
    this.atlases = data.map((one) => new Atlas(one));
    if (this.atlases.length > 1 && !this.comparison) {
      fetch("/compare.json").then((response) => response.json()).then((found) => {
        this.comparison = found;
        this.render();
      });
    }
    this.fillFrame();
    this.normalise();
    this.theme(recall("theme") ?? "auto");
    this.state.listen(() => this.render());
    this.keys();
    document.documentElement.dataset.ready = "map";
  }

  graph(index) {
    const { name } = this.session.models[index];
    const mine = (act) => (...args) => this.atlases.length > 0 && index === this.index && act(...args);
    const graph = new GraphFrame(index, name, this.session.netron, {
      opened: mine((scope) => this.netronOpened(scope)),
      selected: mine((id) => this.netronSelected(id)),
      shown: () => { document.documentElement.dataset.ready = "graph"; },
    });
    this.parts.graphs.append(graph.element);
    return graph;
  }

  // A deep link may name an operator: its call is opened and it is selected there.
  normalise() {
    const { open, select } = this.state.current;
    const node = this.atlas.byPath.get(open);
    if (open && !node) {
      const known = open.split("/").map((_, at, all) => all.slice(0, all.length - at).join("/")).find((path) => this.atlas.byPath.has(path));
      this.state.set({ open: known ?? "", select: "" }, true);
      this.normalise();
    } else if (node && node.children.length === 0 && !select) {
      this.state.set(this.place(node.id), true);
    }
  }

  place(id) {
    const node = this.atlas.nodes[id];
    const parent = node.parent === null ? "" : this.atlas.nodes[node.parent].path;
    return { open: parent, select: this.atlas.segment(id) };
  }

  // Goes to a node: into a call, or to an operator where it stands.
  go(id) {
    const node = this.atlas.nodes[id];
    this.state.set(node.children.length > 0 ? { open: node.path, select: "" } : this.place(id));
  }

  goIn(index, id) {
    this.state.set({ model: String(index) }, true);
    this.go(id);
  }

  netronOpened(scope) {
    const path = scope === null ? "" : this.atlas.nodes[scope].path;
    const here = this.focusScope();
    if (here.scope !== scope) {
      this.graphs[this.index].at(here.chainOf(scope), null);
      this.state.set({ open: path, select: "" });
    }
  }

  netronSelected(id) {
    this.graphs[this.index].at(this.focusScope().chainOf(this.atlas.scopeOf(id)), id);
    this.state.set(this.place(id));
  }

  // The calls that Netron must open to show where we are; groups have no function of their own.
  focusScope() {
    const { atlas } = this;
    const isCall = (id) => atlas.nodes[id].kind === "call";
    const chainOf = (id) => (id === null ? [] : [...atlas.ancestors(id), id].filter(isCall));
    const chain = chainOf(this.scope);
    return { chainOf, chain, scope: chain.at(-1) ?? null };
  }

  toggleRole(role) {
    this.hidden[this.hidden.has(role) ? "delete" : "add"](role);
    this.render();
  }

  async compareWeights() {
    this.weighing = true;
    this.render();
    this.weights = await fetch("/compare/weights.json").then((response) => response.json());
    this.weighing = false;
    this.render();
  }

  frame() {
    const parts = this.parts;
    parts.header = el("header", { class: "bar" });
    parts.note = el("div", { class: "missing", role: "note", hidden: true });
    parts.maps = el("div", { class: "maps" });
    parts.legend = el("div", { class: "legend", role: "group", "aria-label": "Legend" });
    parts.tabs = el("div", { class: "tabs", role: "tablist", "aria-label": "Panels" });
    parts.panel = el("section", { class: "panel", role: "tabpanel", id: "panel", tabindex: "0" });
    parts.crumbs = el("nav", { class: "crumbs", "aria-label": "Where you are" });
    parts.sides = el("div", { class: "sides", role: "group", "aria-label": "How to see the inside" });
    parts.graphs = el("div", { class: "graphs" });
    parts.outline = el("div", { class: "outline-host" });
    parts.tip = el("div", { class: "tip", role: "tooltip", hidden: true });
    parts.live = el("div", { class: "live", "aria-live": "polite" });
    parts.splitter = el("div", { class: "splitter", role: "separator", tabindex: "0", "aria-orientation": "vertical", "aria-label": "Width of the map", "aria-valuemin": 25, "aria-valuemax": 75, "aria-valuenow": 56 });
    const left = el("section", { class: "left", "aria-label": "Map and panels" }, parts.note,
      el("main", { class: "map-host", id: "map", tabindex: "-1" }, parts.maps), parts.legend, parts.tabs, parts.panel);
    const right = el("section", { class: "right", "aria-label": "Inside" }, el("div", { class: "right-head" }, parts.crumbs, parts.sides), parts.graphs, parts.outline);
    document.getElementById("app").append(parts.header, el("div", { class: "work" }, left, parts.splitter, right), parts.tip, parts.live);
    this.split(Number(recall("split")) || 56);
    this.dragSplitter();
  }

  fillFrame() {
    const { parts } = this;
    const { verdict } = this.atlases[0].parity;
    const choose = (value, name) => el("option", { value }, name);
    parts.theme = el("select", { "aria-label": "Colours", onchange: (event) => this.theme(event.target.value) }, choose("auto", "System"), choose("light", "Light"), choose("dark", "Dark"));
    parts.numbers = el("button", { type: "button", class: "plain", "aria-pressed": String(this.numbers), title: "Show shapes as numbers at the nominal size", onclick: () => this.toggleNumbers() }, "H/2 = 32");
    parts.export = el("select", { class: "export", "aria-label": "Export", onchange: (event) => this.chooseExport(event.target) }, choose("", "Export"), this.exports().map(([value, name]) => choose(value, name)));
    swap(parts.header,
      el("button", { type: "button", class: "brand", title: "To the whole UNet", onclick: () => this.state.set({ open: "", select: "" }) },
        el("span", { class: "logo", "aria-hidden": "true" }), el("span", {}, "UNet Atlas")),
      el("div", { class: "models" }, this.atlases.map((one, at) => el("button", { type: "button", class: "model", onclick: () => this.state.set({ model: String(at), open: "", select: "" }) },
        this.atlases.length > 1 ? el("b", {}, "AB"[at]) : null, one.name, el("small", {}, one.class || one.file)))),
      verdict ? el("button", { type: "button", class: `verdict ${verdict}`, title: "Parity with PyTorch", onclick: () => this.state.set({ tab: "parity" }) }, `parity ${verdict}`) : null,
      searchBox(this), parts.numbers, parts.export, parts.theme);
    const missing = this.atlases.flatMap((one) => one.missing);
    parts.note.hidden = missing.length === 0;
    if (missing.length > 0) {
      swap(parts.note, el("details", {}, el("summary", {}, `${missing.length} thing${missing.length > 1 ? "s" : ""} this file does not say`), el("ul", {}, missing.map((text) => el("li", {}, text)))));
    }
  }

  toggleNumbers() {
    this.numbers = !this.numbers;
    remember("numbers", this.numbers ? "1" : "0");
    this.parts.numbers.setAttribute("aria-pressed", String(this.numbers));
    this.render();
  }

  exports() {
    const all = [["map-svg", "Map as SVG"], ["map-png", "Map as PNG"], ["figure-svg", "Panel figure as SVG"], ["figure-png", "Panel figure as PNG"]];
    return this.offline ? all : [...all, ["graph-svg", "Graph as SVG"], ["graph-png", "Graph as PNG"], ["page-html", "Offline page (HTML)"]];
  }

  async chooseExport(menu) {
    const [kind, format] = menu.value.split("-");
    menu.value = "";
    const name = `${this.atlas.name.replace(/[^\w.-]+/g, "_")}-${kind}.${format}`;
    if (kind === "page") {
      download(name.replace("-page", ""), await fetch("/offline.html").then((response) => response.blob()));
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
    if (kind === "graph") {
      return this.graphs[this.index]?.figure() ?? null;
    }
    const found = kind === "map" ? this.parts.maps.children[this.shownMaps().indexOf(this.index)]?.querySelector("svg.map") : this.parts.panel.querySelector("svg.figure");
    return found ? standalone(found) : null;
  }

  say(text) {
    this.parts.live.textContent = text;
  }

  shownMaps() {
    return this.atlases.length > 1 ? [0, 1] : [0];
  }

  render() {
    const { state, parts } = this;
    if (this.atlases.length > 1 && !this.offline && !this.graphs[this.index]) {
      this.graphs[this.index] = this.graph(this.index);
      this.graphs[this.index].theme(this.dark);
    }
    const found = traced(this);
    this.lit = found && !found.none ? litEverywhere(this.atlas, found) : null;
    this.drawMaps();
    swap(parts.legend, legend(this));
    this.drawTabs();
    this.drawPanel();
    this.drawCrumbs();
    this.drawSides();
    this.graphs.forEach((graph, index) => {
      graph?.element.classList.toggle("current", index === this.index);
    });
    this.syncGraph();
    this.say(this.focus === null ? "The whole UNet" : `${this.atlas.nodes[this.focus].path}, ${roleLabel(this.atlas.nodes[this.focus].role)}`);
    void state;
  }

  syncGraph() {
    const graph = this.graphs[this.index];
    if (!graph) {
      return;
    }
    graph.paint(this.lit, this.hidden);
    const { chain } = this.focusScope();
    const selected = this.state.current.select ? this.focus : null;
    graph.show(chain, selected ?? this.firstOfGroup());
  }

  // In a flat file, standing in a group means standing at its first operator.
  firstOfGroup() {
    const node = this.scope === null ? null : this.atlas.nodes[this.scope];
    return node?.kind === "group" ? this.atlas.inside(node.id).find((id) => this.atlas.nodes[id].kind === "op") : null;
  }

  drawMaps() {
    const keep = document.activeElement?.closest?.(".map [data-node]")?.dataset.node;
    swap(this.parts.maps, this.shownMaps().map((index) => this.oneMap(index)));
    if (keep !== undefined) {
      this.parts.maps.querySelector(`[data-node="${keep}"]`)?.focus({ preventScroll: true });
    }
  }

  oneMap(index) {
    const atlas = this.atlases[index];
    const drawn = drawMap(atlas, { numbers: this.numbers, pick: (id) => this.goIn(index, id), hover: (id, element) => this.tip(index, id, element) });
    const differing = marks(this.comparison, index);
    const mine = index === this.index;
    for (const item of drawn.querySelectorAll("[data-node]")) {
      const node = atlas.nodes[item.dataset.node];
      item.classList.toggle("selected", mine && this.focus !== null && this.isAt(node.id));
      item.classList.toggle("off", this.hidden.has(node.role) || (item.matches(".skip") && this.hidden.has("skip")));
      const status = differing.get(node.path);
      if (status) {
        item.dataset.differs = status;
      }
      const error = this.errors.get(node.module);
      if (error !== undefined) {
        item.dataset.error = error;
        item.style.setProperty("--severity", severity(error, atlas.parity.atol).toFixed(3));
      }
    }
    if (mine && this.lit) {
      this.light(drawn, atlas);
    }
    this.rove(drawn);
    const title = this.atlases.length > 1 ? el("h2", { class: "map-title" }, el("b", {}, "AB"[index]), ` ${atlas.file}`) : null;
    return el("div", { class: `map-box${mine ? " current" : ""}` }, title, drawn);
  }

  isAt(id) {
    const { atlas } = this;
    return id === this.focus || atlas.ancestors(this.focus).includes(id);
  }

  light(drawn, atlas) {
    drawn.classList.add("tracing");
    for (const item of drawn.querySelectorAll("[data-node]:not(.skip)")) {
      item.classList.toggle("lit", this.lit.nodes.has(Number(item.dataset.node)));
    }
    for (const skip of atlas.skips) {
      const lit = skip.value !== null && this.lit.values.has(skip.value) && this.lit.nodes.has(skip.sink);
      drawn.querySelector(`[data-skip="${CSS.escape(skip.id)}"]`)?.classList.toggle("lit", lit);
    }
    const entered = new Set([...atlas.injections.flatMap((one) => one.nodes), ...atlas.attentions.map((one) => one.node)].filter((id) => this.lit.nodes.has(id)).map((id) => blockOf(atlas, id)));
    const flows = new Set([...this.lit.values].map((id) => atlas.values[id].flow));
    for (const line of drawn.querySelectorAll(".bus, .tap")) {
      const kind = line.classList.contains("time") ? "time" : "text";
      line.classList.toggle("lit", flows.has(kind) && (!line.dataset.block || entered.has(Number(line.dataset.block))));
    }
  }

  // One tab stop for the whole map; arrows walk over it.
  rove(drawn) {
    const items = [...drawn.querySelectorAll(".item")];
    const first = items.find((item) => item.classList.contains("selected")) ?? items[0];
    first?.setAttribute("tabindex", "0");
    drawn.addEventListener("keydown", (event) => {
      const at = items.indexOf(document.activeElement);
      const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (by && at >= 0) {
        event.preventDefault();
        items[at].setAttribute("tabindex", "-1");
        const next = items[(at + by + items.length) % items.length];
        next.setAttribute("tabindex", "0");
        next.focus();
      } else if ((event.key === "Enter" || event.key === " ") && at >= 0) {
        event.preventDefault();
        items[at].dispatchEvent(new MouseEvent("click", { bubbles: true }));
      }
    });
  }

  tip(index, id, element) {
    const { tip } = this.parts;
    tip.hidden = id === null;
    if (id === null) {
      return;
    }
    const atlas = this.atlases[index];
    const node = atlas.nodes[id];
    const skip = element.dataset.skip === undefined ? null : atlas.skips.find((one) => one.id === element.dataset.skip);
    const error = this.errors.get(node.module);
    swap(tip, skip ? [
      el("strong", {}, `skip ${skip.id}`), el("p", {}, `${atlas.nodes[skip.source].path} → ${atlas.nodes[skip.sink].path}`), el("p", {}, el("code", {}, shapeOf({ ...this, numbers: this.numbers, atlas }, skip.shape)), " is concatenated to what comes up."),
    ] : [
      el("strong", {}, node.path), el("p", {}, [roleLabel(node.role), atlas.className(node)].filter(Boolean).join(" · ")),
      el("p", {}, el("code", {}, shapeOf({ numbers: this.numbers, atlas }, atlas.outShape(id)))),
      el("p", {}, `${compact(node.params)} parameters (${share(node.params, atlas.params)}), ${share(node.flops ?? 0, atlas.flops)} of the FLOPs`),
      error !== undefined ? el("p", {}, `max |difference| ${error.toExponential(1)}`) : null,
    ]);
    const box = element.getBoundingClientRect();
    tip.style.left = `${Math.max(8, Math.min(box.left, window.innerWidth - tip.offsetWidth - 8))}px`;
    const below = box.bottom + 8 + tip.offsetHeight < window.innerHeight;
    tip.style.top = `${below ? box.bottom + 8 : Math.max(8, box.top - tip.offsetHeight - 8)}px`;
  }

  tabNames() {
    return Object.keys(PANELS).filter((name) => name !== "compare" || this.atlases.length > 1);
  }

  drawTabs() {
    const names = this.tabNames();
    const now = names.includes(this.state.current.tab) ? this.state.current.tab : "about";
    const focused = document.activeElement?.getAttribute("role") === "tab";
    swap(this.parts.tabs, names.map((name) => el("button", {
      type: "button", role: "tab", id: `tab-${name}`, "aria-controls": "panel", "aria-selected": String(name === now), tabindex: name === now ? "0" : "-1",
      onclick: () => this.state.set({ tab: name }),
      onkeydown: (event) => {
        const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (by) {
          this.state.set({ tab: names[(names.indexOf(now) + by + names.length) % names.length] });
        }
      },
    }, PANELS[name][0])));
    if (focused) {
      this.parts.tabs.querySelector("[aria-selected=true]").focus();
    }
    this.parts.panel.setAttribute("aria-labelledby", `tab-${now}`);
  }

  drawPanel() {
    const tab = this.tabNames().includes(this.state.current.tab) ? this.state.current.tab : "about";
    const draw = PANELS[tab][1];
    swap(this.parts.panel, draw ? draw(this) : this.aboutPanel());
    this.parts.panel.dataset.tab = tab;
  }

  aboutPanel() {
    if (this.focus !== null) {
      return about(this, this.focus);
    }
    const { atlas } = this;
    const crossing = atlas.attentions.filter((one) => one.role !== "self_attention").length;
    const ask = (tab, text) => el("button", { type: "button", class: "ask", onclick: () => this.state.set({ tab }) }, text);
    return [
      el("h2", {}, atlas.name),
      el("p", {}, `A ${atlas.class || "model"} with ${compact(atlas.params)} parameters. The image goes down the left side of the U, across the bottom and up the right side; `,
        `${atlas.skips.length} skips carry detail straight across. The time enters every resnet (${atlas.injections.length} times), the text enters in ${crossing} cross-attentions.`),
      el("div", { class: "asks" }, ask("attention", "How does the text enter?"), ask("time", "What does the timestep do?"), ask("shapes", "Which shapes, where?"), ask("trace", "Trace a path")),
      el("dl", { class: "facts" }, [["File", atlas.file], ["Weights", [atlas.weights.source, atlas.weights.dtype, atlas.weights.mode].filter(Boolean).join(", ")]]
        .filter(([, text]) => text).map(([name, text]) => el("div", { class: "row" }, el("dt", {}, name), el("dd", {}, text)))),
    ];
  }

  drawCrumbs() {
    const { open, select } = this.state.current;
    const parts = [...open.split("/"), select].filter(Boolean);
    const crumb = (text, at) => {
      const last = at === parts.length - 1;
      const path = parts.slice(0, at + 1).join("/");
      return el("li", {}, last ? el("span", { "aria-current": "page" }, text) : el("button", { type: "button", onclick: () => this.state.set({ open: path, select: "" }) }, text));
    };
    swap(this.parts.crumbs, el("ol", {}, el("li", {}, parts.length === 0 ? el("span", { "aria-current": "page" }, this.atlas.name)
      : el("button", { type: "button", onclick: () => this.state.set({ open: "", select: "" }) }, this.atlas.name)), parts.map(crumb)));
  }

  drawSides() {
    const { parts } = this;
    const pick = (side, name) => el("button", { type: "button", "aria-pressed": String(this.side === side), onclick: () => { this.side = side; this.render(); } }, name);
    swap(parts.sides, this.offline ? null : [pick("graph", "Graph"), pick("outline", "Outline")]);
    parts.graphs.hidden = this.side !== "graph";
    parts.outline.hidden = this.side !== "outline";
    swap(parts.outline, this.side === "outline" ? outline(this) : null);
  }

  theme(choice) {
    const system = window.matchMedia("(prefers-color-scheme: dark)");
    this.parts.theme.value = choice;
    remember("theme", choice);
    this.dark = choice === "dark" || (choice === "auto" && system.matches);
    document.documentElement.dataset.theme = this.dark ? "dark" : "light";
    this.graphs.forEach((graph) => graph?.theme(this.dark));
    system.onchange = () => this.theme(this.parts.theme.value);
  }

  split(percent) {
    const value = Math.min(75, Math.max(25, percent));
    document.documentElement.style.setProperty("--left", `${value}%`);
    this.parts.splitter.setAttribute("aria-valuenow", String(Math.round(value)));
    this.splitAt = value;
  }

  dragSplitter() {
    const { splitter } = this.parts;
    const done = () => {
      remember("split", String(this.splitAt));
      document.body.classList.remove("dragging");
    };
    splitter.addEventListener("pointerdown", (event) => {
      splitter.setPointerCapture(event.pointerId);
      document.body.classList.add("dragging");
    });
    splitter.addEventListener("pointermove", (event) => splitter.hasPointerCapture(event.pointerId) && this.split((100 * event.clientX) / window.innerWidth));
    splitter.addEventListener("pointerup", done);
    splitter.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -2, ArrowRight: 2 }[event.key];
      if (by) {
        event.preventDefault();
        this.split(this.splitAt + by);
        done();
      }
    });
  }

  keys() {
    document.addEventListener("keydown", (event) => {
      const typing = event.target.matches?.("input, select, textarea");
      if (event.key === "/" && !typing) {
        event.preventDefault();
        document.getElementById("search").focus();
      } else if (event.key === "Backspace" && !typing && (this.state.current.open || this.state.current.select)) {
        event.preventDefault();
        const { open, select } = this.state.current;
        this.state.set(select ? { select: "" } : { open: open.split("/").slice(0, -1).join("/") });
      }
    });
  }
}

const session = JSON.parse(document.getElementById("session").textContent);
const app = new App(session);
await app.start();

// A headless browser draws one view and hands it back to the viewer that started it.
const order = new URLSearchParams(window.location.search);
if (order.has("export")) {
  const kind = order.get("export");
  const wait = async () => {
    while (kind === "graph" && document.documentElement.dataset.ready !== "graph") {
      await new Promise((resolve) => window.setTimeout(resolve, 50));
    }
    return app.figure(kind);
  };
  const figure = await wait();
  const body = figure ? await blob(figure, order.get("format")) : "";
  await fetch(`/export/${order.get("token")}`, { method: "POST", body });
}
