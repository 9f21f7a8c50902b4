// Words of the prompt to point at, and of which layer and head their regions are.

import { short } from "../replay/recording.js";
import { el, swap } from "./dom.js";
import { glow, percent } from "./samplingstage.js";
import { ALL } from "./wordmap.js";

export class WordsBox {
  constructor(sampling) {
    this.sampling = sampling;
    this.pinned = null;
    this.chips = el("div", {
      class: "chips",
      role: "group",
      title: "the region of a word: where the layer looks at it",
      "aria-label": "Words of the prompt",
    });
    this.layer = el("select", {
      "aria-label": "Layer",
      onchange: () => this.sampling.set({ layer: this.layer.value, head: null }),
    });
    this.head = el("select", {
      "aria-label": "Head",
      onchange: () =>
        this.sampling.set({ head: this.head.value === "" ? null : Number(this.head.value) }),
    });
    this.scale = el("div", { class: "glow-scale" });
    this.element = el(
      "section",
      { class: "sample-words", hidden: true },
      this.chips,
      el("div", { class: "word-choices" }, this.layer, this.head, this.scale),
    );
  }

  update(live) {
    this.element.hidden = !live.some((run) => run.maps.any);
    if (this.element.hidden) {
      return;
    }
    const { look, most } = this.sampling;
    const words = new Map(
      live.flatMap((run) => run.maps.words.map((one) => [one.key, one.text])),
    );
    const keys = [...words.keys()].join("\n");
    if (this.chips.dataset.keys !== keys) {
      this.chips.dataset.keys = keys;
      swap(
        this.chips,
        [...words].map(([key, text]) => this.chip(key, text)),
      );
    }
    for (const chip of this.chips.children) {
      chip.setAttribute("aria-pressed", String(chip.dataset.word === this.pinned));
      chip.classList.toggle("seen", chip.dataset.word === look.word);
    }
    const { layers } = live[0].maps;
    choices(this.layer, look.layer, [
      [ALL, "all layers, averaged"],
      ...layers.map((one) => [one.module, `${short(one.module)} · ${one.size.join(" × ")}`]),
    ]);
    const count = live[0].maps.layer(look.layer)?.count ?? 0;
    choices(this.head, look.head === null ? "" : String(look.head), [
      ["", count > 0 ? "all heads, averaged" : "heads averaged"],
      ...Array.from({ length: count }, (_, at) => [String(at), `head ${at + 1} of ${count}`]),
    ]);
    this.head.disabled = count === 0;
    this.drawScale(most);
  }

  chip(key, text) {
    const see = (word) => this.sampling.set({ word });
    return el(
      "button",
      {
        type: "button",
        class: "word-chip",
        "data-word": key,
        onmouseenter: () => see(key),
        onmouseleave: () => see(this.pinned),
        onfocus: () => see(key),
        onblur: () => see(this.pinned),
        onclick: () => {
          this.pinned = this.pinned === key ? null : key;
          see(key);
        },
      },
      text,
    );
  }

  drawScale(most) {
    if (this.scale.dataset.most === String(most)) {
      return;
    }
    this.scale.dataset.most = String(most);
    const steps = Array.from({ length: 9 }, (_, at) => {
      const step = el("span", {});
      const [r, g, b, a] = glow((at / 8) * most, most).map((part) => Number(part.toFixed(2)));
      step.style.background = `rgb(${r} ${g} ${b} / ${a})`;
      return step;
    });
    swap(
      this.scale,
      el("span", {}, "0"),
      el("span", { class: "glow-bar", "aria-hidden": "true" }, steps),
      el("span", {}, `${percent(most)}, one scale for all`),
    );
  }
}

// Fills a select with values and names, unless it has them already.
export function choices(select, value, pairs) {
  const text = JSON.stringify(pairs);
  if (select.dataset.pairs !== text) {
    select.dataset.pairs = text;
    swap(
      select,
      pairs.map(([one, name]) => el("option", { value: one }, name)),
    );
  }
  select.value = value;
}
