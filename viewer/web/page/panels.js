// What is read beside the map: how the mechanism works, and the shapes down and up the U.

import { el, heads } from "./dom.js";
import { hasU } from "./nou.js";
import { capital, compact, known, plural, shapeText, share, told } from "./numbers.js";
import { questionList, storyButtons } from "./questions.js";
import { doorOf, roleLabel } from "./roles.js";
import { about, link, shapeOf } from "./nodes.js";
import { attentionFigure, timeFigure } from "./figures.js";

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

// Q from the image, K and V from the text: for one attention, with the others a step away.
export function attentionPanel(app) {
  const { atlas } = app;
  const doors = atlas.attentions.filter((one) => doorOf(one.role));
  const all = doors.length > 0 ? doors : atlas.attentions;
  if (all.length === 0) {
    return [el("p", { class: "empty" }, "This file names no attention.")];
  }
  const chosen = chosenAttention(app, all);
  const one = all[chosen];
  const like = doors.filter((other) => doorOf(other.role) === doorOf(one.role));
  const call = atlas.nodes[one.call];
  const step = (by) => app.go(all[(chosen + by + all.length) % all.length].node);
  const [q, k, v] = one.operands.map((shape) => shapeOf(app, shape));
  const names = (list, fallback) => (list.length > 0 ? list.join(", ") : fallback);
  return [
    el(
      "div",
      { class: "panel-head" },
      el("h2", {}, `${capital(roleLabel(one.role))} ${chosen + 1} of ${all.length}`),
      el(
        "div",
        { class: "stepper" },
        el(
          "button",
          { type: "button", "aria-label": "previous attention", onclick: () => step(-1) },
          "‹",
        ),
        el(
          "button",
          { type: "button", "aria-label": "next attention", onclick: () => step(1) },
          "›",
        ),
      ),
    ),
    attentionFigure(app, one),
    el(
      "p",
      {},
      "In ",
      link(app, one.call, call.path),
      ", the queries ",
      el("code", {}, q),
      " come from ",
      producers(app, one, 0),
      ` (depends on ${names(one.sources[0], "the image")}); the keys `,
      el("code", {}, k),
      " from ",
      producers(app, one, 1),
      " and the values ",
      el("code", {}, v),
      " from ",
      producers(app, one, 2),
      ` (${names(one.sources[1], "not said")}).`,
    ),
    el(
      "p",
      {},
      link(app, one.node, "The attention itself"),
      ` has ${one.heads ?? "an unsaid number of"} heads`,
      one.head_dim
        ? ` of ${one.head_dim} channels each, ${one.heads * one.head_dim} in all`
        : "",
      ", and gives ",
      el("code", {}, shapeOf(app, one.out)),
      ": one row for every place in the image.",
    ),
    el(
      "p",
      {},
      `The ${one.role === "image_prompt" ? "reference image" : "text"} enters here and nowhere else: ${plural(like.length, "attention")} like this one, beside `,
      `${plural(atlas.attentions.length - doors.length, "self-attention")}.`,
    ),
    el(
      "div",
      { class: "node-list" },
      all.map((other, at) =>
        link(app, other.node, `${at + 1}  ${atlas.nodes[other.call].path}`),
      ),
    ),
  ];
}

function chosenAttention(app, all) {
  const { atlas } = app;
  const focus = app.focus;
  if (focus === null) {
    return 0;
  }
  const near = new Set(atlas.inside(focus));
  const found = all.findIndex(
    (one) =>
      near.has(one.node) || one.call === focus || atlas.ancestors(focus).includes(one.call),
  );
  return Math.max(found, 0);
}

function producers(app, one, at) {
  const value = app.atlas.values[app.atlas.nodes[one.node].in[at]];
  return value && value.producer !== null ? link(app, value.producer) : "the input";
}

// Sinusoid, MLP, then every resnet.
export function timePanel(app) {
  const { atlas } = app;
  const inputs = atlas.inputs
    .map((id) => atlas.values[id])
    .filter((value) => value.flow === "time");
  const input = inputs.find((value) => value.name.startsWith("timestep")) ?? inputs[0];
  const shared = sharedTime(app);
  const after = input ? reach(atlas, input.id) : new Set();
  const main = shared.filter((id) => after.has(id));
  const first = main.findIndex((id) =>
    ["Gemm", "MatMul", "Conv"].includes(atlas.nodes[id].op),
  );
  const [sinusoid, mlp] = first < 0 ? [main, []] : [main.slice(0, first), main.slice(first)];
  if (atlas.injections.length === 0) {
    return [el("p", { class: "empty" }, "This file marks no time injection.")];
  }
  const vector = mlp.length > 0 ? atlas.outShape(mlp.at(-1)) : null;
  const others = inputs.filter((value) => value !== input);
  return [
    el("h2", {}, `Time: one vector, ${plural(atlas.injections.length, "injection")}`),
    timeFigure(app, { input, sinusoid, mlp, vector }),
    el(
      "p",
      {},
      `${input?.name ?? "The time"} becomes a sinusoid in `,
      several(app, sinusoid),
      "; the MLP in ",
      several(app, mlp),
      " turns it into one vector ",
      el("code", {}, shapeOf(app, vector)),
      " that every resnet shares.",
    ),
    others.length > 0
      ? el(
          "p",
          {},
          `${others.map((value) => value.name).join(" and ")} join it on the way, through `,
          several(
            app,
            shared.filter((id) => !after.has(id)),
          ),
          ".",
        )
      : null,
    el(
      "p",
      {},
      "Each resnet projects that vector to its own channels and adds it to every pixel:",
    ),
    el(
      "table",
      { class: "shapes" },
      heads(["resnet", "injection", "vector", "image"]),
      el(
        "tbody",
        {},
        atlas.injections.map((one) => {
          const around = atlas.byModule.get(one.resnet);
          return el(
            "tr",
            {},
            el("td", {}, around ? link(app, around.id, around.path) : one.resnet),
            el("td", {}, several(app, one.nodes)),
            el("td", {}, el("code", {}, shapeOf(app, one.time))),
            el("td", {}, el("code", {}, shapeOf(app, one.image))),
          );
        }),
      ),
    ),
  ];
}

// Operators that depend on a value.
function reach(atlas, value) {
  const found = new Set();
  const queue = [value];
  while (queue.length > 0) {
    for (const id of atlas.consumers.get(queue.pop()) ?? []) {
      if (!found.has(id)) {
        found.add(id);
        queue.push(...atlas.nodes[id].out);
      }
    }
  }
  return found;
}

// Operators of the time path outside the blocks, in graph order.
function sharedTime(app) {
  const { atlas } = app;
  const block = atlas.blocks.find((one) => one.kind === "time");
  return (block?.nodes ?? [])
    .flatMap((id) => atlas.inside(id))
    .filter((id) => atlas.nodes[id].kind === "op");
}

function several(app, ids) {
  if (ids.length === 0) {
    return "no node that the file names";
  }
  return ids.map((id, at) => [at > 0 ? " → " : "", link(app, id, app.atlas.nodes[id].op)]);
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
  const columns = ["", "output", "at this size", "parameters", "FLOPs"];
  return [
    el("h2", {}, "Shapes, down and up the U"),
    el(
      "div",
      { class: "table-host" },
      el(
        "table",
        { class: "shapes by-block" },
        el(
          "thead",
          {},
          el(
            "tr",
            {},
            columns.map((name) => el("th", { scope: "col" }, name)),
          ),
        ),
        el("tbody", {}, rows),
      ),
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
