// A file in which no U is found: it is said, and what there is, is shown.

import { el } from "./dom.js";
import { compact, flopsBound, known, plural, shapeText, share } from "./numbers.js";
import { roleClass } from "./roles.js";

const MOST = 12;

export function hasU(atlas) {
  return atlas.blocks.some((block) => ["down", "mid", "up"].includes(block.kind));
}

export function noU(app, index) {
  const atlas = app.atlases[index];
  const ops = atlas.nodes.filter((node) => node.kind === "op");
  const kinds = new Map();
  ops.forEach((node) => kinds.set(node.op, (kinds.get(node.op) ?? 0) + 1));
  const common = [...kinds].sort((a, b) => b[1] - a[1]).slice(0, MOST);
  const value = (id) =>
    el(
      "li",
      {},
      el("b", {}, atlas.values[id].name),
      " ",
      el("code", {}, shapeText(atlas.values[id].shape)),
    );
  const heavy = atlas.top
    .map((id) => atlas.nodes[id])
    .sort((a, b) => b.params - a.params || b.flops - a.flops)
    .slice(0, MOST);
  return el(
    "section",
    { class: "no-u" },
    el("h2", {}, "No U was found in this file"),
    el(
      "p",
      {},
      `It names no down, middle or up blocks, neither in metadata nor in module names. Here is what there is: ${plural(ops.length, "operator")}, ${known(atlas.params, atlas.weighed, compact)} parameters, ${flopsBound(atlas.flops, atlas.uncounted)} a step.`,
    ),
    el("h3", {}, "In and out"),
    el("ul", {}, atlas.inputs.map(value)),
    el("ul", {}, atlas.outputs.map(value)),
    el("h3", {}, "The largest of its outermost nodes"),
    el(
      "div",
      { class: "node-list" },
      heavy.map((node) =>
        el(
          "button",
          {
            type: "button",
            class: `node-link ${roleClass(node.role)}`,
            onclick: () => app.goIn(index, node.id),
          },
          `${atlas.segment(node.id)} (${node.op}) ${node.params > 0 ? share(node.params, atlas.params) : ""}`,
        ),
      ),
    ),
    el("h3", {}, "Operators"),
    el("p", {}, common.map(([op, many]) => `${op} ×${many}`).join(", ")),
    el(
      "p",
      {},
      el(
        "button",
        { type: "button", class: "ask", onclick: () => app.unfold() },
        "Show its graph",
      ),
    ),
  );
}
