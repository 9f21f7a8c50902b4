// Switches on the map: a click on a skip, an attention or an injection turns it off, half, on.

import { el, swap } from "./dom.js";

const HALF = 0.5;
const WHOLE = /^.*?\battentions\.\d+/; // of a module inside a transformer, the transformer

export class Switches {
  constructor(app, changed) {
    this.app = app;
    this.set = new Map(); // "skip:3" to its factor
    this.open = false;
    this.changed = changed;
    this.toggle = el(
      "button",
      { type: "button", class: "plain", "aria-pressed": "false", onclick: () => this.flip() },
      "Switches on the map",
    );
    this.list = el("div", { class: "switch-list" });
    this.more = el("select", {
      "aria-label": "Add a switch",
      onchange: () => {
        this.turn(this.more.value);
        this.more.value = "";
      },
    });
    this.hint = el(
      "p",
      { class: "hint-line" },
      "Click a skip, a resnet (its time injection) or an attention on the map: off, half, on again. Then sample beside it.",
    );
    this.element = el(
      "section",
      { class: "switches" },
      el("div", { class: "switch-head" }, this.toggle, this.more),
      this.hint,
      this.list,
    );
    this.draw();
  }

  flip() {
    this.open = !this.open;
    if (this.open && this.more.childElementCount === 0) {
      swap(this.more, this.choices());
    }
    this.draw();
    this.changed();
  }

  // All that can be switched, for those who would rather choose than click.
  choices() {
    const { atlas } = this.app;
    const group = (label, names) =>
      names.length > 0
        ? el(
            "optgroup",
            { label },
            names.map(([value, text]) => el("option", { value }, text)),
          )
        : null;
    const attending = (kind, wanted) => [
      ...new Map(
        atlas.attentions
          .filter((one) => (one.role === "self_attention") === wanted)
          .map((one) => whole(atlas.nodes[one.call].module))
          .map((module) => [`${kind}:${module}`, [`${kind}:${module}`, module]]),
      ).values(),
    ];
    return [
      el("option", { value: "" }, "Add a switch"),
      group(
        "Skips",
        atlas.skips.map((one) => [`skip:${one.id}`, `skip ${one.id}`]),
      ),
      group("Cross-attention", attending("cross", false)),
      group("Self-attention", attending("self", true)),
      group(
        "Time injection",
        atlas.injections.map((one) => [`time:${one.resnet}`, one.resnet]),
      ),
    ];
  }

  // What of an item of the map can be switched; null where nothing can.
  nameOf(atlas, item) {
    if (item.dataset.skip !== undefined) {
      return `skip:${item.dataset.skip}`;
    }
    const node = atlas.nodes[item.dataset.node ?? item.dataset.within];
    if (!item.classList.contains("part") || !node?.module) {
      return null;
    }
    const attends = atlas.attentions.some(
      (one) => one.call === node.id || atlas.ancestors(one.node).includes(node.id),
    );
    if (attends) {
      const self = item.classList.contains("role-self_attention");
      return `${self ? "self" : "cross"}:${whole(node.module)}`;
    }
    const injected = atlas.injections.some((one) => one.resnet === node.module);
    return injected ? `time:${node.module}` : null;
  }

  // A click on the map; says whether it was for a switch.
  take(atlas, item) {
    const name = this.open ? this.nameOf(atlas, item) : null;
    this.turn(name);
    return name !== null;
  }

  // On, off, half, on.
  turn(name) {
    if (!name) {
      return;
    }
    const now = this.set.get(name);
    if (now === undefined) {
      this.set.set(name, 0);
    } else if (now === 0) {
      this.set.set(name, HALF);
    } else {
      this.set.delete(name);
    }
    this.draw();
    this.changed();
  }

  paint(atlas, drawn) {
    drawn.classList.toggle("switching", this.open);
    for (const item of drawn.querySelectorAll(".part, [data-skip]")) {
      const name = this.nameOf(atlas, item);
      const factor = this.set.get(name);
      const on = this.open && name !== null ? "on" : null;
      const state = factor === undefined ? on : factor === 0 ? "off" : "half";
      if (state) {
        item.dataset.switch = state;
      } else {
        delete item.dataset.switch;
      }
    }
  }

  order() {
    const all = [...this.set];
    return {
      without: all.flatMap(([name, factor]) => (factor === 0 ? [name] : [])),
      scale: all.flatMap(([name, factor]) => (factor === 0 ? [] : [`${name}=${factor}`])),
    };
  }

  draw() {
    this.toggle.setAttribute("aria-pressed", String(this.open));
    this.more.hidden = !this.open;
    this.hint.hidden = !this.open;
    const drop = (name) => {
      this.set.delete(name);
      this.draw();
      this.changed();
    };
    swap(
      this.list,
      [...this.set].map(([name, factor]) =>
        el(
          "button",
          {
            type: "button",
            class: "switch-chip",
            title: "switch it on again",
            onclick: () => drop(name),
          },
          `${name.replace(":", " ")} ${factor === 0 ? "off" : "half"} ×`,
        ),
      ),
    );
  }
}

function whole(module) {
  return WHOLE.exec(module)?.[0] ?? module;
}
