// The page that replays a recording: one state (step, row, quantity, module), drawn whole.

import { Atlas } from "../page/atlas.js";
import { el, recall, swap } from "../page/dom.js";
import { chart, matrix, scaleBar } from "./curves.js";
import { Recording } from "./recording.js";
import { attentionGrid } from "./grid.js";
import { heatMap } from "./heatmap.js";
import { embedding, image } from "./pictures.js";
import { buildFrame } from "./replayframe.js";
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
    const quantity =
      recording.quantities.find((one) => one.name === asked.get("quantity")) ??
      recording.quantities[0];
    const row = recording.rows.indexOf(asked.get("row") ?? "cond");
    const step = Math.min(recording.steps, Math.max(1, Number(asked.get("step")) || 1)) - 1;
    this.now = {
      step,
      quantity,
      row: Math.max(0, row),
      module: asked.get("module") ?? this.firstModule(),
    };
    this.parts = buildFrame(recording, atlas !== null, {
      play: () => this.play(),
      go: (to) => this.set({ step: to }),
    });
  }

  firstModule() {
    const modules = this.recording.quantities.flatMap((one) =>
      one.places.map((place) => place.module),
    );
    return modules.find((module) => module.startsWith("mid_block")) ?? modules[0] ?? "";
  }

  set(changes) {
    this.now = { ...this.now, ...changes };
    const { step, quantity, row, module } = this.now;
    const query = new URLSearchParams({
      step: step + 1,
      quantity: quantity?.name ?? "",
      row: this.recording.rows[row],
      module,
    });
    window.history.replaceState(null, "", `#${query}`);
    this.render();
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
    const [picture, grid] = await Promise.all([
      recording.sweep ? embedding(recording, now.step) : image(recording, now.step),
      this.attention(),
    ]);
    if (turn !== this.turn) {
      return; // somebody scrubbed on
    }
    swap(parts.image, picture);
    swap(parts.grid, grid);
    parts.grid.hidden = grid === null;
    document.documentElement.dataset.shown = String(now.step + 1);
  }

  drawControls() {
    const { recording, now } = this;
    const quantity = el(
      "select",
      {
        "aria-label": "Quantity",
        onchange: (event) =>
          this.set({
            quantity: recording.quantities.find((one) => one.name === event.target.value),
          }),
      },
      recording.quantities.map((one) =>
        el("option", { value: one.name, selected: one === now.quantity }, one.title),
      ),
    );
    const rows =
      recording.rows.length > 1
        ? recording.rows.map((name, at) =>
            el(
              "button",
              {
                type: "button",
                "aria-pressed": String(at === now.row),
                onclick: () => this.set({ row: at }),
              },
              ROWS[name] ?? name,
            ),
          )
        : [];
    const held = document.activeElement?.closest?.(".controls")
      ? document.activeElement.getAttribute("aria-label")
      : null;
    swap(
      this.parts.controls,
      quantity,
      el("div", { class: "sides", role: "group", "aria-label": "Guidance half" }, rows),
      now.quantity ? scaleBar(now.quantity.scale) : null,
    );
    if (held) {
      quantity.focus();
    }
  }

  drawMap() {
    const { step, row, quantity, module } = this.now;
    if (this.atlas && quantity) {
      swap(
        this.parts.map,
        heatMap(this.atlas, quantity, step, row, {
          module,
          pickPlace: (place) => this.pick(place),
          hover: (text) => {
            this.parts.tip.textContent = text ?? "";
          },
        }),
      );
    }
  }

  pick(module) {
    if (module) {
      this.set({ module });
    }
  }

  drawCharts() {
    const { step, module } = this.now;
    const known = this.recording.quantities.flatMap((quantity) =>
      quantity.places.flatMap((place, at) =>
        place.module === module ? [[quantity, at, place]] : [],
      ),
    );
    swap(
      this.parts.charts,
      el("h2", {}, module || "no module"),
      this.recording.rows.length > 1
        ? el(
            "p",
            { class: "keys" },
            el("span", { class: "key cond" }, "conditional"),
            el("span", { class: "key uncond" }, "unconditional"),
          )
        : null,
      known.length > 0
        ? el(
            "div",
            { class: "chart-list" },
            known.map(([quantity, at, place]) =>
              chart(
                this.recording,
                place.id === null
                  ? quantity
                  : { ...quantity, title: `${quantity.title}: ${place.label}` },
                at,
                step,
                (to) => this.set({ step: to }),
              ),
            ),
          )
        : el(
            "p",
            { class: "empty" },
            "Nothing was recorded of this module itself; choose a part of it below.",
          ),
    );
  }

  drawMatrix() {
    const { step, row, quantity, module } = this.now;
    const top = this.parts.matrix.scrollTop;
    swap(
      this.parts.matrix,
      quantity
        ? [
            el("h2", {}, quantity.title),
            matrix(this.recording, quantity, row, {
              step,
              module,
              pickPlace: (place) => this.pick(place),
              pickStep: (to) => this.set({ step: to }),
            }),
          ]
        : null,
    );
    this.parts.matrix.scrollTop = top;
  }

  async attention() {
    const { step, row, module } = this.now;
    if (this.recording.maps.length === 0) {
      return null;
    }
    const table = await attentionGrid(this.recording, step, row, {
      module,
      pickPlace: (place) => this.pick(place),
    });
    return [
      el("h2", {}, "Where each token is looked for"),
      el("p", { class: "empty" }, "Mean over heads; each map from its own least to its most."),
      table,
    ];
  }
}

function useTheme() {
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const choice = recall("theme") ?? "auto";
  document.documentElement.dataset.theme =
    choice === "dark" || (choice === "auto" && system.matches) ? "dark" : "light";
  system.onchange = useTheme;
}

useTheme();
const shown = JSON.parse(document.getElementById("shown").textContent);
const held = document.getElementById("recording");
const tensors = await Tensors.open(
  held ? inPage(held.textContent) : overHttp("/recording/data"),
);
const data =
  shown.atlas ?? (shown.models > 0 ? await (await fetch("/m/0/atlas.json")).json() : null);
const replay = new Replay(await Recording.open(tensors), data ? new Atlas(data) : null);
await replay.render();
document.documentElement.dataset.ready = "timeline";
