// The boxes of the map: blocks with their parts, and the small ones around the U.

import { svg } from "./dom.js";
import { compact, shapeText, share } from "./numbers.js";
import { roleClass, roleLabel, roleLetter } from "./roles.js";

export function interactive(group, node, label, options) {
  group.setAttribute("tabindex", "-1");
  group.setAttribute("role", "button");
  group.setAttribute("aria-label", label);
  group.dataset.node = node;
  group.classList.add("item");
  group.addEventListener("click", (event) => {
    event.stopPropagation();
    options.pick(node, group);
  });
  group.addEventListener("mouseenter", () => options.hover(node, group));
  group.addEventListener("focus", () => options.hover(node, group));
  group.addEventListener("mouseleave", () => options.hover(null));
  group.addEventListener("blur", () => options.hover(null));
  return group;
}

export function drawBlock(atlas, block, box, options) {
  const node = atlas.nodes[block.nodes[0]];
  const name = atlas.inU(node.path);
  const [, channels, ...size] = block.shape ?? [];
  const level =
    block.level === null || block.level === undefined ? "" : `level ${block.level}, `;
  const label = `${name}, ${level}${shapeText(block.shape)}, ${compact(block.params)} parameters, ${share(block.flops, atlas.flops)} of the FLOPs`;
  const group = svg("g", {
    class: `block side-${block.kind}`,
    transform: `translate(${box.x} ${box.y})`,
  });
  interactive(group, node.id, label, options);
  group.append(
    svg("rect", { class: "card", width: box.width, height: box.height, rx: 10 }),
    svg(
      "text",
      { class: "name", x: 12, y: 20 },
      name.length > 18 ? `${name.slice(0, 17)}…` : name,
    ),
    svg(
      "text",
      { class: "shape", x: box.width - 12, y: 20, "text-anchor": "end" },
      channels === undefined
        ? ""
        : `${channels} × ${shapeText(size, options.numbers ? atlas.nominal : null)}`,
    ),
  );
  const width = Math.min(30, (box.width - 24 + 4) / Math.max(block.parts.length, 1)) - 4;
  block.parts.forEach((part, at) =>
    group.append(drawPart(atlas, part, 12 + at * (width + 4), width, options)),
  );
  const most = Math.max(...atlas.blocks.map((other) => other.flops), 1);
  group.append(
    svg("rect", { class: "track", x: 12, y: 60, width: 92, height: 6, rx: 3 }),
    svg("rect", {
      class: "fill",
      x: 12,
      y: 60,
      width: Math.max(2, (92 * block.flops) / most),
      height: 6,
      rx: 3,
    }),
    svg(
      "text",
      { class: "cost", x: box.width - 12, y: 67, "text-anchor": "end" },
      `${compact(block.params)} · ${share(block.flops, atlas.flops)} FLOPs`,
    ),
  );
  return group;
}

function drawPart(atlas, part, x, width, options) {
  const node = atlas.nodes[part.node];
  const times = part.attentions.length > 2 ? `, ${part.attentions.length} attentions` : "";
  const group = svg("g", {
    class: `part ${roleClass(part.role)}`,
    transform: `translate(${x} 28)`,
  });
  interactive(group, node.id, `${node.path}: ${roleLabel(part.role)}${times}`, options);
  group.append(
    svg("rect", { class: "chip", width, height: 24, rx: 6 }),
    svg(
      "text",
      { class: "letter", x: width / 2, y: 16.5, "text-anchor": "middle" },
      roleLetter(part.role),
    ),
  );
  if (part.injects) {
    group.append(svg("circle", { class: "drop time", cx: width - 2, cy: 2, r: 4 }));
  }
  if (
    part.attentions.includes("cross_attention") ||
    part.attentions.includes("joint_attention")
  ) {
    group.append(svg("circle", { class: "drop text", cx: width - 2, cy: 2, r: 4 }));
  }
  return group;
}

const SMALL = {
  time: "time embedding",
  text: "text",
  conv_in: "conv in",
  conv_out: "conv out",
};

export function drawSmall(atlas, block, box, options) {
  const node = atlas.nodes[block.nodes[0]];
  const role = { time: "time_embedding" }[block.kind] ?? block.kind;
  const label = `${SMALL[block.kind]}, ${shapeText(block.shape)}, ${compact(block.params)} parameters`;
  const group = svg("g", {
    class: `block small ${roleClass(role)}`,
    transform: `translate(${box.x} ${box.y})`,
  });
  interactive(group, node.id, label, options);
  group.append(
    svg("rect", { class: "card", width: box.width, height: box.height, rx: 9 }),
    svg("rect", { class: "mark", width: 5, height: box.height - 16, x: 8, y: 8, rx: 2.5 }),
    svg("text", { class: "name", x: 22, y: 16 }, SMALL[block.kind]),
    svg(
      "text",
      { class: "cost", x: 22, y: 30 },
      `${shapeText(block.shape, options.numbers ? atlas.nominal : null)} · ${compact(block.params)}`,
    ),
  );
  return group;
}
