// Curves of one module over the steps, and every place over all steps at once.

import { el, svg } from "../page/dom.js";
import { figures, paint } from "./heat.js";

const BOX = { width: 320, height: 108, left: 46, right: 10, top: 8, bottom: 18 };
const LINE = 13;

// One small chart: a line a row, a mark at the step that is shown.
export function chart(recording, quantity, place, step, pick) {
  const count = recording.steps;
  const values = Array.from({ length: count * quantity.rows }, (_, at) =>
    quantity.at(Math.floor(at / quantity.rows), at % quantity.rows, place),
  );
  const finite = values.filter(Number.isFinite);
  if (finite.length === 0) {
    return el(
      "figure",
      { class: "chart" },
      el("figcaption", {}, quantity.title),
      el("p", { class: "empty" }, "nothing finite"),
    );
  }
  const [least, most] = [Math.min(...finite), Math.max(...finite)];
  const pad = (most - least) * 0.06 || Math.abs(most) * 0.1 || 1;
  const [low, high] = [least - pad, most + pad];
  const x = (at) =>
    BOX.left + (BOX.width - BOX.left - BOX.right) * (count > 1 ? at / (count - 1) : 0.5);
  const y = (value) =>
    BOX.top + (BOX.height - BOX.top - BOX.bottom) * (1 - (value - low) / (high - low));
  const root = svg("svg", {
    class: "curves",
    viewBox: `0 0 ${BOX.width} ${BOX.height}`,
    role: "img",
    "aria-label": `${quantity.title}: ${figures(quantity.at(step, quantity.rows - 1, place))} at step ${step + 1}`,
  });
  root.append(
    svg("line", {
      class: "axis",
      x1: BOX.left,
      x2: BOX.width - BOX.right,
      y1: BOX.height - BOX.bottom,
      y2: BOX.height - BOX.bottom,
    }),
    svg("text", { x: BOX.left - 5, y: y(most) + 4, "text-anchor": "end" }, figures(most)),
    most > least
      ? svg("text", { x: BOX.left - 5, y: y(least) + 4, "text-anchor": "end" }, figures(least))
      : "",
    svg("text", { x: BOX.left, y: BOX.height - 5 }, `t = ${figures(recording.times[0])}`),
    svg(
      "text",
      { x: BOX.width - BOX.right, y: BOX.height - 5, "text-anchor": "end" },
      figures(recording.times[count - 1]),
    ),
    svg("line", {
      class: "now",
      x1: x(step),
      x2: x(step),
      y1: BOX.top,
      y2: BOX.height - BOX.bottom,
    }),
  );
  for (let row = 0; row < quantity.rows; row += 1) {
    const points = Array.from({ length: count }, (_, at) => [
      x(at),
      y(quantity.at(at, row, place)),
    ]).filter(([, at]) => Number.isFinite(at));
    const kind = quantity.rows > 1 && row === 0 ? "uncond" : "cond";
    root.append(
      svg("polyline", {
        class: `curve ${kind}`,
        points: points.map((pair) => pair.map((one) => one.toFixed(1)).join(",")).join(" "),
      }),
    );
    const now = y(quantity.at(step, row, place));
    if (Number.isFinite(now)) {
      root.append(svg("circle", { class: `dot ${kind}`, cx: x(step), cy: now, r: 3.4 }));
    }
  }
  root.addEventListener("click", (event) => {
    const { left, width } = root.getBoundingClientRect();
    const inside = ((event.clientX - left) / width) * BOX.width - BOX.left;
    pick(
      Math.min(
        count - 1,
        Math.max(0, Math.round((inside / (BOX.width - BOX.left - BOX.right)) * (count - 1))),
      ),
    );
  });
  return el("figure", { class: "chart" }, el("figcaption", {}, quantity.title), root);
}

// Places downwards, steps to the right.
export function matrix(recording, quantity, row, { step, module, pickStep, pickPlace }) {
  const canvas = paint(
    el("canvas", { class: "matrix-canvas" }),
    recording.steps,
    quantity.places.length,
    (x, y) => quantity.scale.colour(quantity.at(x, row, y)),
  );
  canvas.style.height = `${quantity.places.length * LINE}px`;
  const where = (event) => {
    const box = canvas.getBoundingClientRect();
    return [
      Math.floor(((event.clientX - box.left) / box.width) * recording.steps),
      Math.floor(((event.clientY - box.top) / box.height) * quantity.places.length),
    ];
  };
  canvas.addEventListener("click", (event) => {
    const [at, place] = where(event);
    pickPlace(quantity.places[place].module);
    pickStep(at);
  });
  canvas.addEventListener("mousemove", (event) => {
    const [at, place] = where(event);
    if (quantity.places[place]) {
      canvas.title = `${quantity.places[place].label}, step ${at + 1}: ${figures(quantity.at(at, row, place))}`;
    }
  });
  const names = quantity.places.map((place) =>
    el(
      "button",
      {
        type: "button",
        title: place.module,
        class: place.module === module ? "current" : "",
        onclick: () => pickPlace(place.module),
      },
      place.label,
    ),
  );
  const mark = el("div", { class: "matrix-now" });
  mark.style.left = `${(100 * step) / recording.steps}%`;
  mark.style.width = `${100 / recording.steps}%`;
  return el(
    "div",
    { class: "matrix" },
    el("div", { class: "matrix-names" }, names),
    el("div", { class: "matrix-body" }, canvas, mark),
  );
}

export function scaleBar(scale) {
  const canvas = paint(el("canvas", { class: "bar-canvas" }), 128, 1, (x) =>
    scale.colour(scale.at(x / 127)),
  );
  return el(
    "div",
    { class: "scale" },
    el("span", {}, figures(scale.low)),
    canvas,
    el("span", {}, figures(scale.high)),
    scale.kind === "log" ? el("span", { class: "empty" }, "log") : null,
  );
}
