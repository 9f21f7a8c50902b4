// The parts of the page that stay: bar, columns, timeline.

import { el } from "../page/dom.js";

// Lays the page out; returns its parts by name. `hooks.play()` and `hooks.go(step)` are told of
// what is pressed.
export function buildFrame(recording, mapped, hooks) {
  const parts = {
    map: el("main", { class: "replay-map", id: "map", tabindex: "-1" }),
    image: el("section", { class: "card-box image-box" }),
    charts: el("section", { class: "card-box charts" }),
    grid: el("section", { class: "card-box grid-box" }),
    matrix: el("section", { class: "card-box matrix-box" }),
    controls: el("div", { class: "controls" }),
    tip: el("div", { class: "hint", "aria-live": "polite" }),
    label: el("output", { class: "step-label", for: "step" }),
    play: el("button", { type: "button", class: "plain play", onclick: hooks.play }, "Play"),
    slider: el("input", {
      type: "range",
      id: "step",
      min: 1,
      max: recording.steps,
      step: 1,
      "aria-label": "Step",
      oninput: (event) => hooks.go(Number(event.target.value) - 1),
    }),
  };
  const bar = el(
    "header",
    { class: "bar" },
    el(
      "span",
      { class: "brand" },
      el("span", { class: "logo", "aria-hidden": "true" }),
      "UNet Atlas",
    ),
    el("strong", { class: "replay-title" }, recording.title),
    el("span", { class: "replay-note" }, recording.note),
  );
  const right = el(
    "div",
    { class: "replay-right" },
    el("div", { class: "seen" }, parts.image, parts.grid),
    parts.charts,
  );
  const left = el(
    "div",
    { class: "replay-left" },
    parts.controls,
    mapped ? parts.map : null,
    parts.tip,
    parts.matrix,
  );
  const foot = el("footer", { class: "timeline" }, parts.play, parts.slider, parts.label);
  document
    .getElementById("app")
    .append(bar, el("div", { class: "replay" }, left, right), foot);
  document.title = `${recording.title} – UNet Atlas`;
  return parts;
}
