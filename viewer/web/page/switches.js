// Switches on the map: a click on a skip, an attention or an injection turns it half, off, on.

import { el, swap } from "./dom.js";

const HALF = 0.5;
const KINDS = [
  ["cross", "cross-attention"],
  ["self", "self-attention"],
  ["attn", "both attentions"],
];

export class Switches {
  constructor(changed) {
    this.set = new Map(); // "skip:3" to its factor
    this.open = false;
    this.kind = "cross";
    this.changed = changed;
    this.toggle = el(
      "button",
      {
        type: "button",
        class: "plain",
        "aria-pressed": "false",
        onclick: () => this.flip(),
      },
      "Switches on the map",
    );
    this.choice = el(
      "select",
      {
        "aria-label": "What a click on an attention switches",
        onchange: (event) => {
          this.kind = event.target.value;
        },
      },
      KINDS.map(([value, name]) => el("option", { value }, name)),
    );
    this.list = el("div", { class: "switch-list" });
    this.hint = el(
      "p",
      { class: "hint-line" },
      "Click a skip, a resnet (its time injection) or an attention on the map: off, half, on again. Then sample beside it.",
    );
    this.element = el(
      "section",
      { class: "switches" },
      el("div", { class: "switch-head" }, this.toggle, this.choice),
      this.hint,
      this.list,
    );
    this.draw();
  }

  flip() {
    this.open = !this.open;
    this.draw();
    this.changed();
  }

  // What of an item of the map can be switched; null where nothing can.
  nameOf(atlas, item) {
    if (item.dataset.skip !== undefined) {
      return `skip:${item.dataset.skip}`;
    }
    const node = atlas.nodes[item.dataset.node];
    if (!item.classList.contains("part") || !node?.module) {
      return null;
    }
    const attends = atlas.attentions.some(
      (one) => one.call === node.id || atlas.ancestors(one.node).includes(node.id),
    );
    if (attends) {
      return `${this.kind}:${node.module}`;
    }
    const injected = atlas.injections.some((one) => one.resnet === node.module);
    return injected ? `time:${node.module}` : null;
  }

  // A click on the map; says whether it was for a switch.
  take(atlas, item) {
    const name = this.open ? this.nameOf(atlas, item) : null;
    if (name === null) {
      return false;
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
    return true;
  }

  paint(atlas, drawn) {
    drawn.classList.toggle("switching", this.open);
    for (const item of drawn.querySelectorAll("[data-node]")) {
      delete item.dataset.switch;
      const names = this.namesAt(atlas, item);
      const known = names.find((name) => this.set.has(name));
      if (known) {
        item.dataset.switch = this.set.get(known) === 0 ? "off" : "half";
      } else if (this.open && names.length > 0) {
        item.dataset.switch = "on";
      }
    }
  }

  namesAt(atlas, item) {
    const name = this.nameOf(atlas, item);
    const [kind, place] = [name?.split(":")[0], name?.slice(name.indexOf(":") + 1)];
    const attends = KINDS.some(([one]) => one === kind);
    return name === null ? [] : attends ? KINDS.map(([one]) => `${one}:${place}`) : [name];
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
    this.choice.hidden = !this.open;
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
