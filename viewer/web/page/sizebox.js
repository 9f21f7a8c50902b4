// The size of one's choice: B, H, W and S, what they mean, and what follows from them.

import { count, freeAxes, memory } from "./counting.js";
import { el } from "./dom.js";
import { bytesText, flopsBound, known } from "./numbers.js";

const AXES = [
  ["batch", "B", "images", 64],
  ["height", "H", "height", 4096],
  ["width", "W", "width", 4096],
  ["tokens", "S", "text tokens", 4096],
];
export const ODD = { height: 33, width: 35 };

// As it is written in the address: 1,33,35,77.
export function sizeText(nominal) {
  return AXES.map(([name]) => nominal[name]).join(",");
}

// A size from the address; what is missing or no size is the model's own.
export function readSize(text, natural) {
  const parts = text.split(",");
  const found = { ...natural };
  AXES.forEach(([name, , , most], at) => {
    const value = /^\d{1,4}$/.test(parts[at] ?? "") ? Number(parts[at]) : 0;
    if (value > 0 && value <= most) {
      found[name] = value;
    }
  });
  return found;
}

// Counts every model at the size that the address names, when it has changed.
export function applySize(app) {
  const { size } = app.state.current;
  if ((app.sized ?? "") === size) {
    return;
  }
  app.sized = size;
  app.numbers = app.numbers || size !== "";
  for (const atlas of app.atlases) {
    const free = freeAxes(atlas);
    const wished = readSize(size, atlas.natural);
    AXES.forEach(([name]) => {
      wished[name] = free[name] ? wished[name] : atlas.natural[name];
    });
    count(atlas, wished);
  }
}

export function sizeAt(app, changes) {
  const next = sizeText({ ...app.atlas.nominal, ...changes });
  app.state.set({ size: next === sizeText(app.atlas.natural) ? "" : next });
}

export function sizeBox(app) {
  const { atlas } = app;
  const free = freeAxes(atlas);
  const field = ([name, letter, meaning, most]) =>
    el(
      "label",
      { title: free[name] ? meaning : `${meaning}: fixed in this file` },
      el("b", {}, letter),
      el("span", { class: "meaning" }, meaning),
      el("input", {
        type: "number",
        inputmode: "numeric",
        min: 1,
        max: most,
        value: atlas.nominal[name],
        disabled: !free[name],
        "aria-label": `${letter}, ${meaning}`,
        "data-axis": name,
        onchange: (event) => {
          const value = Math.round(Number(event.target.value));
          sizeAt(app, {
            [name]: value >= 1 && value <= most ? value : atlas.natural[name],
          });
        },
      }),
    );
  const button = (text, title, pressed, act, kind = "") =>
    el(
      "button",
      { type: "button", class: kind, title, "aria-pressed": pressed, onclick: act },
      text,
    );
  const odd = atlas.nominal.height === ODD.height && atlas.nominal.width === ODD.width;
  return [
    el(
      "fieldset",
      { class: "size-fields" },
      el("legend", { class: "unseen" }, "Size"),
      AXES.map(field),
    ),
    button("33×35", "An odd size: where do halves round up?", String(odd), () =>
      odd ? app.state.set({ size: "" }) : sizeAt(app, ODD),
    ),
    app.sized
      ? button("reset", "The size the model was made for", null, () =>
          app.state.set({ size: "" }),
        )
      : null,
    button(
      app.numbers ? "as letters" : "as numbers",
      "How sizes are written: H/2 or 6",
      String(app.numbers),
      () => app.toggleNumbers(),
      "numbers",
    ),
    el("output", { class: "size-costs" }, costs(atlas)),
    warning(atlas),
  ];
}

function costs(atlas) {
  const { weights, values, unknown } = memory(atlas);
  return [
    el("span", {}, el("b", {}, flopsBound(atlas.flops, atlas.uncounted)), " a step"),
    el("span", {}, el("b", {}, known(weights, weights !== null, bytesText)), " of weights"),
    el(
      "span",
      { title: "Every value is freed after its last use; an attention's scores are counted" },
      el("b", {}, `${unknown > 0 ? "at least " : ""}${bytesText(values)}`),
      " at the busiest operator",
    ),
  ];
}

// Some files take only multiples of a number.
function warning(atlas) {
  const step = Number(atlas.metadata["atlas.size_multiple"] ?? 1);
  const { height, width } = atlas.nominal;
  return step > 1 && (height % step > 0 || width % step > 0)
    ? el(
        "p",
        { class: "warning", role: "alert" },
        `This file takes multiples of ${step} only.`,
      )
    : null;
}
