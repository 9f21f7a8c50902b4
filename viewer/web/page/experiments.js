// What the second run does otherwise: experiments with their steps, listed where one can drop them.

import { el, swap } from "./dom.js";

const STEPS = "\\d+|\\d*-\\d+|\\d+-"; // 3, 1-5, -5, 5-

// Of options of the command: what is said of one, and what an order calls them.
const OPTIONS = {
  without: (what) => `${what.replace(":", " ")} off`,
  scale: (what) => `${what.replace(":", " ").replace("=0.5", " half").replace("=", " × ")}`,
  mask: (what) => `“${what}” masked`,
  swap: (what) => `“${what.replace(",", "” and “")}” swapped`,
  freeu: (what) => `FreeU ${what.replaceAll(",", ", ")}`,
};

// An experiment of an order in words, with its steps.
export function saidOf(option, text) {
  const [, what, steps] = /^(.*?)(?:@([\d-]+))?$/.exec(text);
  const when = steps ? ` at step${/^\d+$/.test(steps) ? "" : "s"} ${steps}` : "";
  return `${OPTIONS[option](what)}${when}`;
}

// All experiments of an order, in words.
export function allSaid(order) {
  return Object.keys(OPTIONS).flatMap((option) =>
    (order[option] ?? []).map((text) => saidOf(option, text)),
  );
}

export class Experiments {
  constructor(changed) {
    this.changed = changed;
    this.known = new Map(); // name to {option, what, steps}
    this.element = el("div", { class: "experiment-list" });
  }

  get size() {
    return this.known.size;
  }

  get(name) {
    return this.known.get(name) ?? null;
  }

  // Begins, or changes, the one of this name; its steps stay.
  put(name, option, what) {
    const steps = this.known.get(name)?.steps ?? "";
    this.known.set(name, { option, what, steps });
    this.draw();
    this.changed();
  }

  // This one, and no other.
  only(name, option, what) {
    this.known.clear();
    this.put(name, option, what);
  }

  drop(name) {
    this.known.delete(name);
    this.draw();
    this.changed();
  }

  // Lists of the order, by option.
  order() {
    const found = Object.fromEntries(Object.keys(OPTIONS).map((option) => [option, []]));
    for (const { option, what, steps } of this.known.values()) {
      found[option].push(steps ? `${what}@${steps}` : what);
    }
    return found;
  }

  draw() {
    swap(
      this.element,
      [...this.known].map(([name, one]) => this.row(name, one)),
    );
  }

  row(name, one) {
    const said = OPTIONS[one.option](one.what);
    const steps = el("input", {
      type: "text",
      class: "experiment-steps",
      value: one.steps,
      pattern: STEPS,
      placeholder: "all",
      title: "steps, the first being 1: 3, 1-5, 5- or -5",
      "aria-label": `Steps of ${said}`,
      autocomplete: "off",
      onchange: () => {
        one.steps = steps.validity.valid ? steps.value.trim() : one.steps;
        steps.reportValidity();
      },
    });
    return el(
      "div",
      { class: "experiment" },
      el(
        "button",
        {
          type: "button",
          class: "switch-chip",
          title: "leave it out again",
          onclick: () => this.drop(name),
        },
        `${said} ×`,
      ),
      el("label", {}, "steps", steps),
    );
  }
}
