// The frame that Netron lives in: what it should show goes in, what was picked there comes out.

import { el } from "./dom.js";

const PATIENCE = 10000;

export class GraphFrame {
  constructor(index, name, version, events) {
    this.events = events;
    this.ready = false;
    this.waiting = false;
    this.request = null;
    this.style = null;
    this.dark = false;
    this.figures = [];
    this.note = el("p", { class: "note", role: "status", hidden: true });
    this.frame = el("iframe", {
      src: `/m/${index}/netron/index.html`,
      title: `Netron: ${name}`,
    });
    this.element = el("div", { class: "graph" }, this.note, this.frame);
    this.version = version || "unknown";
    window.addEventListener("message", (event) => this.receive(event));
    this.timer = window.setTimeout(() => this.degrade(["no answer from its page"]), PATIENCE);
  }

  receive(event) {
    const mine =
      event.origin === window.location.origin && event.source === this.frame.contentWindow;
    if (mine && event.data?.from === "netron") {
      this[`on_${event.data.type}`]?.(event.data);
    }
  }

  on_hello() {
    window.clearTimeout(this.timer);
    this.note.hidden = true;
    this.ready = true;
    this.post({ type: "theme", dark: this.dark });
    this.flush();
  }

  on_degraded({ missing }) {
    this.degrade(missing);
  }

  on_shown() {
    this.waiting = false;
    this.events.shown();
  }

  on_opened({ scope }) {
    if (!this.waiting) {
      this.events.opened(scope);
    }
  }

  on_selected({ id }) {
    this.events.selected(id);
  }

  on_search() {
    this.events.search();
  }

  on_figure(message) {
    this.figures.splice(0).forEach((resolve) => resolve(message));
  }

  degrade(missing) {
    window.clearTimeout(this.timer);
    this.note.textContent = `Netron ${this.version} lacks what our overlay needs (${missing.join(", ")}): it is shown plain, without colours. The map and the outline work as ever.`;
    this.note.hidden = false;
    this.degraded = true;
    this.events.shown();
  }

  post(message) {
    this.frame.contentWindow?.postMessage(
      { to: "netron", ...message },
      window.location.origin,
    );
  }

  flush() {
    if (!this.ready) {
      return;
    }
    if (this.style) {
      this.post(this.style);
    }
    if (this.request) {
      this.post(this.request);
    }
  }

  show(chain, select) {
    const key = JSON.stringify([chain, select]);
    if (key === this.shown) {
      return;
    }
    this.shown = key;
    this.request = { type: "show", chain, select };
    this.waiting = true;
    if (this.ready) {
      this.post(this.request);
    }
  }

  // Netron already stands there because the user went there in it.
  at(chain, select) {
    this.shown = JSON.stringify([chain, select]);
  }

  paint(lit, hidden) {
    const message = {
      type: "style",
      hidden: [...hidden],
      lit: lit && { nodes: [...lit.nodes], values: [...lit.values] },
    };
    if (JSON.stringify(message) === JSON.stringify(this.style)) {
      return;
    }
    this.style = message;
    if (this.ready) {
      this.post(message);
    }
  }

  theme(dark) {
    this.dark = dark;
    if (this.ready) {
      this.post({ type: "theme", dark });
    }
  }

  // Fits what is drawn to the pane, whose size has changed.
  fit() {
    if (this.ready) {
      this.post({ type: "fit" });
    }
  }

  figure() {
    return new Promise((resolve) => {
      this.figures.push(resolve);
      this.post({ type: "figure" });
    });
  }
}
