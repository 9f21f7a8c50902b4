// The map: the U as a U. Time and text run around it, skips across it.

import { drawBlock, drawSmall } from "./boxes.js";
import { svg } from "./dom.js";
import { BOX, layout, TOP, WIDTH } from "./layout.js";
import { compact, flopsBound, told } from "./numbers.js";
import { buses, drawSkips, flow } from "./wires.js";

// Draws the map. `pick(node, open)` is called on a click, `hover(node, element)` on a visit.
export function drawMap(atlas, options) {
  const plan = layout(atlas);
  const root = svg("svg", {
    class: "map",
    viewBox: `0 0 ${plan.width} ${plan.height}`,
    role: "group",
    "aria-label": `Map of ${atlas.name}: ${atlas.blocks.length} blocks, ${told(atlas, atlas.skips.length, "skip connection")}`,
  });
  root.append(
    arrowheads(),
    bands(atlas, plan),
    buses(atlas, plan, options),
    flow(atlas, plan),
  );
  root.append(drawSkips(atlas, plan, options));
  atlas.blocks.forEach((block, index) => {
    const box = plan.boxes.get(index);
    if (box) {
      root.append(
        box.height > 50
          ? drawBlock(atlas, block, box, options)
          : drawSmall(atlas, block, box, options),
      );
    }
  });
  root.append(summary(atlas, plan));
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
    ["image", "time", "text", "skip"].map((kind) => marker(`head-${kind}`, kind)),
  );
}

function bands(atlas, plan) {
  const group = svg("g", { class: "bands", "aria-hidden": "true" });
  for (let row = 0; row < plan.rows; row += 1) {
    const y = TOP + row * (BOX.height + BOX.gap);
    group.append(
      svg("rect", {
        class: "band",
        x: 60 + row * plan.indent,
        y: y - 8,
        width: WIDTH - 120 - 2 * row * plan.indent,
        height: BOX.height + 16,
        rx: 14,
      }),
    );
  }
  return group;
}

function summary(atlas, plan) {
  const { batch, height, width, tokens } = atlas.nominal;
  const lines = [
    `${compact(atlas.params)} parameters`,
    `${flopsBound(atlas.flops, atlas.uncounted)} a step at B=${batch}, H=${height}, W=${width}, S=${tokens}`,
  ];
  return svg(
    "g",
    { class: "summary" },
    lines.map((text, at) =>
      svg("text", { x: plan.width - 20, y: 34 + 20 * at, "text-anchor": "end" }, text),
    ),
  );
}
