// Experiments that need no place on the map: a word that nobody sees, two that change places, FreeU.

import { el } from "./dom.js";
import { choices } from "./samplingwords.js";

const FREEU = { s1: 0.9, s2: 0.2, b1: 1.5, b2: 1.6 }; // as its authors have it for SD 1
const WORD = [["", "a word"]];

export class Wording {
  constructor(experiments) {
    this.experiments = experiments;
    this.masked = this.word("Word to mask", () => this.mask());
    this.first = this.word("Word to swap", () => this.swap());
    this.second = this.word("Word to swap it with", () => this.swap());
    this.factors = Object.entries(FREEU).map(([name, value]) =>
      el("input", { type: "number", step: "any", value, "aria-label": `FreeU ${name}` }),
    );
    const add = el(
      "button",
      { type: "button", class: "plain", onclick: () => this.filter() },
      "Add FreeU",
    );
    this.words = [
      el("label", {}, "Mask", this.masked),
      el("label", {}, "Swap", this.first, "and", this.second),
    ];
    this.element = el(
      "details",
      { class: "wording" },
      el("summary", {}, "Words and FreeU"),
      el("div", { class: "wording-row" }, this.words),
      el(
        "div",
        { class: "wording-row freeu" },
        this.factors.map((input, at) => el("label", {}, Object.keys(FREEU)[at], input)),
        add,
      ),
    );
  }

  word(label, onchange) {
    return el("select", { "aria-label": label, onchange });
  }

  // The words that there are: those of the first run.
  update(words) {
    const names = [...new Set(words)].map((text) => [text, text]);
    for (const select of [this.masked, this.first, this.second]) {
      choices(select, select.value, [...WORD, ...names]);
    }
    this.words.forEach((one) => {
      one.hidden = names.length === 0;
    });
  }

  mask() {
    const { value } = this.masked;
    if (value) {
      this.masked.value = "";
      this.experiments.put(`mask:${value}`, "mask", value);
    }
  }

  swap() {
    const [a, b] = [this.first.value, this.second.value];
    if (a && b && a !== b) {
      [this.first.value, this.second.value] = ["", ""];
      this.experiments.put(`swap:${a},${b}`, "swap", `${a},${b}`);
    }
  }

  filter() {
    if (this.factors.every((one) => one.value !== "" && one.reportValidity())) {
      this.experiments.put("freeu", "freeu", this.factors.map((one) => one.value).join(","));
    }
  }
}
