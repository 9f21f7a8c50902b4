// One run as a picture: the step, a word's region over it, a pixel's words, a film of all steps.

import { paintStep } from "../replay/pictures.js";
import { el, swap } from "./dom.js";
import { inOrder } from "./wordmap.js";

const FILM = 24; // pictures in the film at most
const HINT =
  "Point at a word for its region, or at the picture for the words of a pixel. Regions are smoothed; the numbers are those of the layer’s own pixels.";
const GLOW = [
  [30, 16, 80, 0.1],
  [126, 30, 130, 0.5],
  [225, 80, 70, 0.66],
  [250, 160, 50, 0.76],
  [255, 236, 110, 0.86],
];
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

// The colour of a probability over the dimmed picture, on the scale of all words: [r, g, b, a].
export function glow(value, most) {
  const part = most > 0 ? Math.min(1, Math.max(0, value / most)) ** 0.42 : 0;
  const place = part * (GLOW.length - 1);
  const left = Math.min(Math.floor(place), GLOW.length - 2);
  return GLOW[left].map((from, at) => from + (place - left) * (GLOW[left + 1][at] - from));
}

export class Stage {
  // `hooks.point(run, [x, y] in 0..1 or null)` and `hooks.go(place)` are told of what is done.
  constructor(run, title, hooks) {
    this.run = run;
    this.hooks = hooks;
    this.field = null;
    this.cell = null;
    this.shown = -1;
    this.picture = el("canvas", { class: "picture", "aria-hidden": "true" });
    this.shade = el("canvas", { class: "shade", "aria-hidden": "true" });
    this.cross = el("div", { class: "cross", hidden: true });
    this.frame = el(
      "div",
      {
        class: "shot-frame empty",
        tabindex: "0",
        role: "group",
        "aria-label": `${title}: the picture; arrows walk over its pixels`,
        onpointermove: (event) => this.pointed(event),
        onpointerdown: (event) => this.pointed(event),
        onpointerleave: () => hooks.point(this, null),
        onblur: () => hooks.point(this, null),
        onkeydown: (event) => this.walked(event),
      },
      this.picture,
      this.shade,
      this.cross,
    );
    this.note = el("p", { class: "shot-note" });
    this.caption = el("figcaption", {}, el("strong", {}, title), this.note);
    this.film = el("div", {
      class: "film",
      role: "group",
      "aria-label": `${title}: every step`,
    });
    this.words = el("div", { class: "pixel-words", "aria-live": "polite" });
    this.element = el(
      "figure",
      { class: "shot" },
      this.frame,
      this.caption,
      this.film,
      this.words,
    );
  }

  pointed(event) {
    const box = this.frame.getBoundingClientRect();
    const place = [
      (event.clientX - box.left) / box.width,
      (event.clientY - box.top) / box.height,
    ];
    if (place.every((one) => one >= 0 && one < 1)) {
      this.hooks.point(this, place);
    }
  }

  walked(event) {
    const by = ARROWS[event.key];
    if (!by || !this.field) {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
    const { width, height } = this.field;
    const [x, y] = this.cell ?? [Math.floor(width / 2), Math.floor(height / 2)];
    const to = this.cell ? [x + by[0], y + by[1]] : [x, y];
    this.hooks.point(this, [
      (Math.min(Math.max(to[0], 0), width - 1) + 0.5) / width,
      (Math.min(Math.max(to[1], 0), height - 1) + 0.5) / height,
    ]);
  }

  // Paints the picture of a step; `look` says which word of which layer and head is seen.
  async draw(place, look) {
    const { run } = this;
    if (!run.live) {
      return;
    }
    this.element.classList.toggle("sweep", run.recording.sweep);
    if (run.recording.sweep) {
      return; // the time path alone: there is no picture, only the map
    }
    const step = run.stepAt(place);
    const turn = (this.turn = (this.turn ?? 0) + 1);
    const head = run.maps.layer(look.layer)?.count > look.head ? look.head : null;
    const [note, field] = await Promise.all([
      this.shown === step ? null : this.paint(step),
      run.maps.any ? run.maps.field(step, look.layer, head) : null,
    ]);
    if (turn !== this.turn) {
      return;
    }
    if (note) {
      this.shown = step;
      this.frame.title = note;
    }
    this.field = field;
    this.overlay(look);
    this.drawFilm(step);
  }

  async paint(step) {
    const canvas = el("canvas", {});
    const note = await paintStep(canvas, this.run.recording, step);
    this.picture.width = canvas.width;
    this.picture.height = canvas.height;
    this.picture.getContext("2d").drawImage(canvas, 0, 0);
    this.frame.classList.remove("empty");
    this.frame.style.aspectRatio = `${canvas.width} / ${canvas.height}`;
    this.frame.classList.toggle("coarse", canvas.width < 160);
    return note;
  }

  // The picture dimmed, and a glow where the word is looked for.
  overlay({ word, most }) {
    const { field, run } = this;
    const at = word === null ? -1 : run.maps.words.findIndex((one) => one.key === word);
    this.shade.hidden = !field || at < 0;
    this.frame.classList.toggle("dimmed", !this.shade.hidden);
    if (this.shade.hidden) {
      return;
    }
    const { width, height } = field;
    this.shade.width = width;
    this.shade.height = height;
    const context = this.shade.getContext("2d");
    const painted = context.createImageData(width, height);
    field.values[at].forEach((value, pixel) => {
      const [r, g, b, a] = glow(value, most);
      painted.data.set([r, g, b, 255 * a], 4 * pixel);
    });
    context.putImageData(painted, 0, 0);
  }

  // The words of the pixel that is pointed at, the most looked at first.
  point(place, most) {
    const { field, run } = this;
    this.cell = null;
    this.cross.hidden = !place || !field;
    if (this.cross.hidden) {
      swap(this.words, field ? el("p", {}, HINT) : null);
      return;
    }
    const { width, height } = field;
    const [x, y] = [Math.floor(place[0] * width), Math.floor(place[1] * height)];
    this.cell = [x, y];
    Object.assign(this.cross.style, {
      left: `${(100 * x) / width}%`,
      top: `${(100 * y) / height}%`,
      width: `${100 / width}%`,
      height: `${100 / height}%`,
    });
    const { found, rest } = inOrder(field, run.maps.words, x, y);
    swap(
      this.words,
      el("p", {}, `Pixel ${x + 1}, ${y + 1} of ${width} × ${height} looks at`),
      el(
        "ol",
        {},
        found.slice(0, 8).map(([text, value]) => bar(text, value, most)),
      ),
      el("p", { class: "rest" }, `start, end and padding: ${percent(rest)}`),
    );
  }

  // Small pictures of the steps that are there; a click goes to one.
  drawFilm(step) {
    const { run, film } = this;
    const count = Math.min(FILM, run.of);
    for (let at = film.childElementCount; at < count; at += 1) {
      film.append(this.frameOf(at, count));
    }
    [...film.children].forEach((button, at) => {
      const mine = filmStep(at, count, run.of);
      button.disabled = mine >= run.done;
      const next = at + 1 < count ? filmStep(at + 1, count, run.of) : run.of;
      button.setAttribute("aria-current", String(step >= mine && step < next));
      if (mine < run.done && !button.dataset.painted) {
        button.dataset.painted = "1";
        paintStep(button.firstChild, run.recording, mine);
      }
    });
  }

  frameOf(at, count) {
    const step = filmStep(at, count, this.run.of);
    return el(
      "button",
      {
        type: "button",
        "aria-label": `step ${step + 1}`,
        title: `step ${step + 1}`,
        onclick: () => this.hooks.go(step / Math.max(this.run.of - 1, 1)),
      },
      el("canvas", { "aria-hidden": "true" }),
    );
  }
}

function filmStep(at, count, steps) {
  return count > 1 ? Math.round((at * (steps - 1)) / (count - 1)) : 0;
}

function bar(text, value, most) {
  const fill = el("span", { class: "fill" });
  fill.style.width = `${Math.min(100, (100 * value) / Math.max(most, 1e-9)).toFixed(1)}%`;
  return el(
    "li",
    {},
    el("span", { class: "word-name" }, text),
    el("span", { class: "track", "aria-hidden": "true" }, fill),
    el("span", { class: "value" }, percent(value)),
  );
}

export function percent(value) {
  const hundred = 100 * value;
  return `${hundred >= 10 || hundred === 0 ? hundred.toFixed(0) : hundred.toFixed(1)} %`;
}
