// Netron's frames, one a model: made when they are needed, kept where the page stands.

import { GraphFrame } from "./graph.js";

export class Graphs {
  constructor(app) {
    this.app = app;
    this.frames = [];
  }

  get any() {
    return this.frames.length > 0;
  }

  get current() {
    return this.frames[this.app.index] ?? null;
  }

  each(act) {
    this.frames.forEach((frame, index) => frame && act(frame, index));
  }

  need(index) {
    const { app } = this;
    const model = app.shown.models[index];
    if (app.offline || this.frames[index] || model.large) {
      return;
    }
    const mine = (act) => (argument) =>
      app.atlases.length > 0 && index === app.index && act(argument);
    const frame = new GraphFrame(index, model.name, app.shown.netron, {
      opened: mine((scope) => this.opened(scope)),
      selected: mine((id) => this.selected(id)),
      search: () => document.getElementById("search").focus(),
      shown: () => {
        document.documentElement.dataset.ready = "graph";
      },
    });
    frame.theme(app.dark ?? window.matchMedia("(prefers-color-scheme: dark)").matches);
    this.frames[index] = frame;
    app.parts.graphs.append(frame.element);
  }

  // Netron's functions around a node; groups of a flat file have none of their own.
  chainOf(id) {
    const { atlas } = this.app;
    return id === null
      ? []
      : [...atlas.ancestors(id), id].filter((one) => atlas.nodes[one].kind === "call");
  }

  opened(scope) {
    const { app } = this;
    if ((this.chainOf(app.scope).at(-1) ?? null) !== scope) {
      this.current.at(this.chainOf(scope), null);
      app.state.set({ open: scope === null ? "" : app.atlas.nodes[scope].path, select: "" });
    }
  }

  selected(id) {
    const { app } = this;
    this.current.at(this.chainOf(app.atlas.nodes[id].parent), id);
    app.state.set(app.place(id));
  }

  // Brings Netron to where the page is.
  sync() {
    const { app, current } = this;
    this.each((frame, index) =>
      frame.element.classList.toggle("current", index === app.index),
    );
    if (current) {
      current.paint(app.lit, app.hidden);
      current.show(
        this.chainOf(app.scope),
        app.state.current.select ? app.focus : this.firstOfGroup(),
      );
    }
  }

  // In a flat file, standing in a group means standing at its first operator.
  firstOfGroup() {
    const { atlas, scope } = this.app;
    return atlas.nodes[scope]?.kind === "group"
      ? atlas.inside(scope).find((id) => atlas.nodes[id].kind === "op")
      : null;
  }
}
