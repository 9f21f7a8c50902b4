// Switches on the map: a click on a skip, an attention or an injection turns it off, half, on.

import { el, swap } from "./dom.js";

const HALF = 0.5;
const WHOLE = /^.*?\battentions\.\d+/; // of a module inside a transformer, the transformer

export class Switches {
  // What is switched is one of `experiments`, by the name of its place, such as "skip:3".
  constructor(app, experiments, changed) {
    this.app = app;
    this.experiments = experiments;
    this.open = false;
    this.changed = changed;
    this.toggle = el(
      "button",
      { type: "button", class: "plain", "aria-pressed": "false", onclick: () => this.flip() },
      "Switches on the map",
    );
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
      "Click a skip, a resnet (its time injection) or an attention on the map: off, half, on again.",
    );
    this.element = el(
      "section",
      { class: "switches" },
      el("div", { class: "switch-head" }, this.toggle, this.more),
      this.hint,
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
    const { experiments } = this;
    const now = this.factor(name);
    if (now === null) {
      experiments.put(name, "without", name);
    } else if (now === 0) {
      experiments.put(name, "scale", `${name}=${HALF}`);
    } else {
      experiments.drop(name);
    }
  }

  // What a place is multiplied by; null where it is on.
  factor(name) {
    const found = this.experiments.get(name);
    return found === null ? null : found.option === "without" ? 0 : HALF;
  }

  paint(atlas, drawn) {
    drawn.classList.toggle("switching", this.open);
    for (const item of drawn.querySelectorAll(".part, [data-skip]")) {
      const name = this.nameOf(atlas, item);
      const factor = this.factor(name);
      const on = this.open && name !== null ? "on" : null;
      const state = factor === null ? on : factor === 0 ? "off" : "half";
      if (state) {
        item.dataset.switch = state;
      } else {
        delete item.dataset.switch;
      }
    }
  }

  draw() {
    this.toggle.setAttribute("aria-pressed", String(this.open));
    this.more.hidden = !this.open;
    this.hint.hidden = !this.open;
  }
}

function whole(module) {
  return WHOLE.exec(module)?.[0] ?? module;
}
