// What is read beside the map: where we are, and the shapes down and up the U.

import { el, heads } from "./dom.js";
import { hasU } from "./nou.js";
import {
  capital,
  compact,
  flopsWord,
  known,
  plural,
  shapeText,
  share,
  told,
} from "./numbers.js";
import { questionList, storyButtons } from "./questions.js";
import { about, link } from "./nodes.js";
import { doorOf } from "./roles.js";

function wayOf(atlas) {
  const zero = atlas.blocks.filter((block) => block.kind === "zero");
  if (zero.length > 0) {
    const count = zero.flatMap((block) => block.nodes).length;
    return `The image goes down the left side, and the control image with it. ${capital(plural(count, "zero convolution"))} on the right hand on what a UNet adds to its skips and to its middle.`;
  }
  return `The image goes down the left side of the U, across the bottom and up the right side. Detail is carried straight across by ${told(atlas, atlas.skips.length, "skip")}.`;
}

// What is known of where we are; of the whole UNet when we are nowhere in particular.
export function aboutPanel(app) {
  if (app.focus !== null) {
    return about(app, app.focus);
  }
  const { atlas } = app;
  const doors = atlas.attentions.filter((one) => doorOf(one.role) === "text").length;
  const facts = [
    ["File", atlas.file],
    [
      "Weights",
      [atlas.weights.source, atlas.weights.dtype, atlas.weights.mode]
        .filter(Boolean)
        .join(", "),
    ],
  ];
  return [
    el("h2", {}, atlas.name),
    hasU(atlas)
      ? el(
          "p",
          {},
          `A ${atlas.class || "model"} with ${known(atlas.params, atlas.weighed, compact)} parameters. ${wayOf(atlas)} `,
          `The time enters ${told(atlas, atlas.injections.length, "resnet")}, the text ${told(atlas, doors, "cross-attention")}.`,
        )
      : null,
    storyButtons(app),
    questionList(app),
    el(
      "dl",
      { class: "facts" },
      facts
        .filter(([, text]) => text)
        .map(([name, text]) =>
          el("div", { class: "row" }, el("dt", {}, name), el("dd", {}, text)),
        ),
    ),
  ];
}

// Every block and its parts in the order of the data, with what they cost.
export function shapesPanel(app) {
  const { atlas } = app;
  const rows = atlas.blocks.flatMap((block) => {
    const whole =
      block.nodes.length === 1
        ? null
        : block.kind.replace("time", "time embedding").replace("_", " ");
    const head = row(app, block.nodes[0], block, "block-row", whole, block.shape);
    const parts = block.parts.map((part) =>
      row(app, part.node, atlas.nodes[part.node], "part-row", null, atlas.outShape(part.node)),
    );
    return [head, ...parts];
  });
  const columns = ["", "output", "at this size", "parameters", flopsWord(atlas)];
  return [
    el("h2", {}, "Shapes, down and up the U"),
    el(
      "div",
      { class: "table-host" },
      el("table", { class: "shapes by-block" }, heads(columns), el("tbody", {}, rows)),
    ),
  ];
}

function row(app, id, costs, kind, name, shape) {
  const { atlas } = app;
  return el(
    "tr",
    { class: kind },
    el("td", {}, link(app, id, name)),
    el("td", {}, el("code", {}, shapeText(shape))),
    el("td", {}, el("code", {}, shapeText(shape, atlas.nominal))),
    el("td", { class: "number" }, known(costs.params ?? 0, atlas.weighed, compact)),
    el("td", { class: "number" }, share(costs.flops ?? 0, atlas.flops)),
  );
}
