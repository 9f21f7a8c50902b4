// The map: the U as a U. Time and text run around it, skips across it.

import { drawBlock, drawSmall } from "./boxes.js";
import { svg } from "./dom.js";
import { drawLevels, drawSkips } from "./lanes.js";
import { layout } from "./layout.js";
import { compact, flopsBound, known, told } from "./numbers.js";
import { buses, flow, inputs } from "./wires.js";

// Draws the map, `width` pixels wide. `pick(node, element)` is called on a click, `tell(story)` on
// one on a level, a skip or an input, `hover(node, element)` on a visit.
export function drawMap(atlas, options) {
  const plan = layout(atlas, options.width);
  const root = svg("svg", {
    class: `map${plan.size.narrow ? " narrow" : ""}`,
    viewBox: `0 0 ${plan.width} ${plan.height}`,
    role: "group",
    "aria-label": `Map of ${atlas.name}: ${atlas.blocks.length} blocks, ${told(atlas, atlas.skips.length, "skip connection")}`,
  });
  root.append(arrowheads(), bands(plan), buses(atlas, plan), flow(atlas, plan));
  root.append(drawSkips(atlas, plan, options), drawLevels(atlas, plan, options));
  atlas.blocks.forEach((block, index) => {
    const box = plan.boxes.get(index);
    if (box) {
      const draw = box.row < 0 ? drawSmall : drawBlock;
      root.append(draw(atlas, block, box, plan.size, options));
    }
  });
  root.append(inputs(atlas, plan, options), key(atlas, plan));
  return root;
}

function arrowheads() {
  const marker = (id, kind) =>
    svg(
      "marker",
      {
        id,
        class: `head ${kind}`,
        viewBox: "0 0 8 8",
        refX: 7,
        refY: 4,
        markerWidth: 10,
        markerHeight: 10,
        markerUnits: "userSpaceOnUse",
        orient: "auto",
      },
      svg("path", { d: "M0 0 8 4 0 8z" }),
    );
  return svg(
    "defs",
    {},
    ["image", "time", "text", "prompt", "control", "skip"].map((kind) =>
      marker(`head-${kind}`, kind),
    ),
  );
}

function bands({ size, width, bands: rows }) {
  const group = svg("g", { class: "bands", "aria-hidden": "true" });
  const out = size.narrow ? 3 : 10;
  for (const band of rows) {
    const x = size.gutter + band.row * size.indent - out;
    group.append(
      svg("rect", {
        class: "band",
        x,
        y: band.y - 8,
        width: width - 2 * x,
        height: band.height + 16,
        rx: 14,
      }),
    );
  }
  return group;
}

// What the letters mean and what the whole costs: they stay with the figure when it is exported.
function key(atlas, plan) {
  const { batch, height, width, tokens } = atlas.nominal;
  const lines = [
    ["B images", "H × W pixels of the latent", "S text tokens", "T timesteps: 1, or B"],
    [
      `${known(atlas.params, atlas.weighed, compact)} parameters`,
      `${flopsBound(atlas.flops, atlas.uncounted)} a step`,
      `at B=${batch}, H=${height}, W=${width}, S=${tokens}`,
    ],
  ].flatMap((words) =>
    plan.size.narrow
      ? [words.slice(0, 2).join(" · "), words.slice(2).join(" · ")]
      : [words.join("   ·   ")],
  );
  const y = plan.height - 20 * lines.length + 8;
  return svg(
    "g",
    { class: "summary" },
    lines.map((text, at) =>
      svg("text", { x: plan.width / 2, y: y + 20 * at, "text-anchor": "middle" }, text),
    ),
  );
}
