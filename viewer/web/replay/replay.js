// The page that replays a recording: one state (step, row, quantity, module), drawn whole.

import { Atlas } from "../page/atlas.js";
import { el, recall, swap } from "../page/dom.js";
import { chart, matrix, scaleBar } from "./curves.js";
import { Recording } from "./recording.js";
import { attentionGrid } from "./grid.js";
import { paint, paintLatents, Scale } from "./heat.js";
import { heatMap } from "./heatmap.js";
import { inPage, overHttp, Tensors } from "./tensors.js";

const ROWS = { cond: "Conditional", uncond: "Unconditional" };
const PACE = 350; // milliseconds a step while playing

class Replay {
  constructor(recording, atlas) {
    this.recording = recording;
    this.atlas = atlas;
    this.turn = 0;
    this.timer = null;
    const asked = new URLSearchParams(window.location.hash.slice(1));
    const quantity = recording.quantities.find((one) => one.name === asked.get("quantity")) ?? recording.quantities[0];
    const row = recording.rows.indexOf(asked.get("row") ?? "cond");
    const step = Math.min(recording.steps, Math.max(1, Number(asked.get("step")) || 1)) - 1;
    this.now = { step, quantity, row: Math.max(0, row), module: asked.get("module") ?? this.firstModule() };
    this.parts = this.frame();
  }

  firstModule() {
    const modules = this.recording.quantities.flatMap((one) => one.places.map((place) => place.module));
    return modules.find((module) => module.startsWith("mid_block")) ?? modules[0] ?? "";
  }

  set(changes) {
    this.now = { ...this.now, ...changes };
    const { step, quantity, row, module } = this.now;
    const query = new URLSearchParams({ step: step + 1, quantity: quantity?.name ?? "", row: this.recording.rows[row], module });
    window.history.replaceState(null, "", `#${query}`);
    this.render();
  }

  frame() {
    const { recording } = this;
    const parts = {
      map: el("main", { class: "replay-map", id: "map", tabindex: "-1" }),
      image: el("section", { class: "card-box image-box" }),
      charts: el("section", { class: "card-box charts" }),
      grid: el("section", { class: "card-box grid-box" }),
      matrix: el("section", { class: "card-box matrix-box" }),
      controls: el("div", { class: "controls" }),
      tip: el("div", { class: "hint", "aria-live": "polite" }),
      label: el("output", { class: "step-label", for: "step" }),
      play: el("button", { type: "button", class: "plain play", onclick: () => this.play() }, "Play"),
      slider: el("input", {
        type: "range", id: "step", min: 1, max: recording.steps, step: 1, "aria-label": "Step",
        oninput: (event) => this.set({ step: Number(event.target.value) - 1 }),
      }),
    };
    const bar = el("header", { class: "bar" },
      el("span", { class: "brand" }, el("span", { class: "logo", "aria-hidden": "true" }), "UNet Atlas"),
      el("strong", { class: "replay-title" }, recording.title), el("span", { class: "replay-note" }, recording.note));
    const right = el("div", { class: "replay-right" }, el("div", { class: "seen" }, parts.image, parts.grid), parts.charts);
    const left = el("div", { class: "replay-left" }, parts.controls, this.atlas ? parts.map : null, parts.tip, parts.matrix);
    const foot = el("footer", { class: "timeline" }, parts.play, parts.slider, parts.label);
    document.getElementById("app").append(bar, el("div", { class: "replay" }, left, right), foot);
    document.title = `${recording.title} – UNet Atlas`;
    return parts;
  }

  play() {
    if (this.timer !== null) {
      window.clearInterval(this.timer);
      this.timer = null;
    } else {
      if (this.now.step === this.recording.steps - 1) {
        this.set({ step: 0 });
      }
      this.timer = window.setInterval(() => this.advance(), PACE);
    }
    this.parts.play.textContent = this.timer === null ? "Play" : "Pause";
  }

  advance() {
    this.set({ step: this.now.step + 1 });
    if (this.now.step >= this.recording.steps - 1) {
      this.play();
    }
  }

  async render() {
    const { parts, recording, now } = this;
    const turn = (this.turn += 1);
    parts.slider.value = now.step + 1;
    parts.label.textContent = `step ${now.step + 1} of ${recording.steps}, t = ${Number(recording.times[now.step].toFixed(2))}`;
    this.drawControls();
    this.drawMap();
    this.drawCharts();
    this.drawMatrix();
    const [image, grid] = await Promise.all([recording.sweep ? this.embedding() : this.image(), this.attention()]);
    if (turn !== this.turn) {
      return; // somebody scrubbed on
    }
    swap(parts.image, image);
    swap(parts.grid, grid);
    parts.grid.hidden = grid === null;
    document.documentElement.dataset.shown = String(now.step + 1);
  }

  drawControls() {
    const { recording, now } = this;
    const quantity = el("select", { "aria-label": "Quantity", onchange: (event) => this.set({ quantity: recording.quantities.find((one) => one.name === event.target.value) }) },
      recording.quantities.map((one) => el("option", { value: one.name, selected: one === now.quantity }, one.title)));
    const rows = recording.rows.length > 1 ? recording.rows.map((name, at) => el("button", {
      type: "button", "aria-pressed": String(at === now.row), onclick: () => this.set({ row: at }),
    }, ROWS[name] ?? name)) : [];
    const held = document.activeElement?.closest?.(".controls") ? document.activeElement.getAttribute("aria-label") : null;
    swap(this.parts.controls, quantity, el("div", { class: "sides", role: "group", "aria-label": "Guidance half" }, rows), now.quantity ? scaleBar(now.quantity.scale) : null);
    if (held) {
      quantity.focus();
    }
  }

  drawMap() {
    const { step, row, quantity, module } = this.now;
    if (this.atlas && quantity) {
      swap(this.parts.map, heatMap(this.atlas, quantity, step, row, {
        module, pickPlace: (place) => this.pick(place), hover: (text) => {
          this.parts.tip.textContent = text ?? "";
        },
      }));
    }
  }

  pick(module) {
    if (module) {
      this.set({ module });
    }
  }

  drawCharts() {
    const { step, module } = this.now;
    const known = this.recording.quantities.flatMap((quantity) => quantity.places.flatMap((place, at) => (place.module === module ? [[quantity, at, place]] : [])));
    swap(this.parts.charts, el("h2", {}, module || "no module"),
      this.recording.rows.length > 1 ? el("p", { class: "keys" }, el("span", { class: "key cond" }, "conditional"), el("span", { class: "key uncond" }, "unconditional")) : null,
      known.length > 0 ? el("div", { class: "chart-list" }, known.map(([quantity, at, place]) => chart(this.recording, place.id === null ? quantity : { ...quantity, title: `${quantity.title}: ${place.label}` }, at, step, (to) => this.set({ step: to }))))
        : el("p", { class: "empty" }, "Nothing was recorded of this module itself; choose a part of it below."));
  }

  drawMatrix() {
    const { step, row, quantity, module } = this.now;
    const top = this.parts.matrix.scrollTop;
    swap(this.parts.matrix, quantity ? [el("h2", {}, quantity.title), matrix(this.recording, quantity, row, {
      step, module, pickPlace: (place) => this.pick(place), pickStep: (to) => this.set({ step: to }),
    })] : null);
    this.parts.matrix.scrollTop = top;
  }

  async attention() {
    const { step, row, module } = this.now;
    if (this.recording.maps.length === 0) {
      return null;
    }
    const table = await attentionGrid(this.recording, step, row, { module, pickPlace: (place) => this.pick(place) });
    return [el("h2", {}, "Where each token is looked for"), el("p", { class: "empty" }, "Mean over heads; each map from its own least to its most."), table];
  }

  // The picture of this step: decoded, or latents as colours.
  async image() {
    const { tensors } = this.recording;
    const { step } = this.now;
    const canvas = el("canvas", { class: "picture", role: "img" });
    if (tensors.has("preview")) {
      const [, height, width] = tensors.shape("preview");
      const pixels = await tensors.read("preview", step);
      paint(canvas, width, height, (x, y) => [0, 1, 2].map((channel) => pixels[3 * (y * width + x) + channel]));
      return captioned(canvas, "Decoded preview of this step");
    }
    const clean = tensors.has("clean");
    const name = clean ? "clean" : "latents";
    const size = tensors.shape(name).slice(1);
    paintLatents(canvas, await tensors.read(name, clean ? step : step + 1), size);
    return captioned(canvas, clean ? "The image the scheduler expects: three latent channels as colours" : "Latents after this step: three channels as colours");
  }

  // The vector that every resnet receives, over all timesteps, and its likeness to itself.
  async embedding() {
    const { tensors, steps } = this.recording;
    if (!tensors.has("temb")) {
      return null;
    }
    const [, rows, width] = tensors.shape("temb");
    const vectors = await tensors.read("temb");
    const at = (step, channel) => vectors[(step * rows + rows - 1) * width + channel];
    const scale = new Scale(vectors, "signed");
    const likeness = Float32Array.from({ length: steps * steps }, (_, pair) => cosine(at, Math.floor(pair / steps), pair % steps, width));
    const alike = new Scale(likeness);
    const now = () => {
      const mark = el("div", { class: "matrix-now" });
      mark.style.left = `${(100 * this.now.step) / steps}%`;
      mark.style.width = `${100 / steps}%`;
      return mark;
    };
    return [
      captioned(el("div", { class: "stack" }, paint(el("canvas", { class: "picture wide" }), steps, width, (x, y) => scale.colour(at(x, y))), now()), `Time embedding: ${width} channels downwards, t to the right`),
      captioned(el("div", { class: "stack" }, paint(el("canvas", { class: "picture wide" }), steps, steps, (x, y) => alike.colour(likeness[y * steps + x])), now()), "Cosine between the embeddings of any two times"),
      scaleBar(alike),
    ];
  }
}

function cosine(at, one, other, width) {
  let [dot, a, b] = [0, 0, 0];
  for (let channel = 0; channel < width; channel += 1) {
    const [x, y] = [at(one, channel), at(other, channel)];
    dot += x * y;
    a += x * x;
    b += y * y;
  }
  return dot / Math.sqrt(Math.max(a * b, 1e-30));
}

function captioned(picture, text) {
  picture.setAttribute("aria-label", text);
  return el("figure", { class: "pictured" }, picture, el("figcaption", {}, text));
}

function useTheme() {
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const choice = recall("theme") ?? "auto";
  document.documentElement.dataset.theme = choice === "dark" || (choice === "auto" && system.matches) ? "dark" : "light";
  system.onchange = useTheme;
}

useTheme();
const shown = JSON.parse(document.getElementById("shown").textContent);
const held = document.getElementById("recording");
const tensors = await Tensors.open(held ? inPage(held.textContent) : overHttp("/recording/data"));
const data = shown.atlas ?? (shown.models > 0 ? await (await fetch("/m/0/atlas.json")).json() : null);
const replay = new Replay(await Recording.open(tensors), data ? new Atlas(data) : null);
await replay.render();
document.documentElement.dataset.ready = "timeline";
