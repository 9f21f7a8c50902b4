// The timestep on its way: a sinusoid, an MLP, an injection in every resnet.

import { el, heads } from "./dom.js";
import { timeFigure } from "./figures.js";
import { link, shapeOf } from "./nodes.js";
import { plural } from "./numbers.js";

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
