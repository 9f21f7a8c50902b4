// The map: the U as a U. Time and text run around it, skips across it.

import { svg } from "./dom.js";
import { compact, flopsText, shapeText, share } from "./numbers.js";
import { roleClass, roleLabel, roleLetter } from "./roles.js";

const BOX = { width: 252, height: 76, gap: 26 };
const WIDTH = 980;
const TOP = 158;
const TEXT_X = 20;
const TIME_X = 44;

// Where every box lies; pure arithmetic, so that map, trace and export agree.
export function layout(atlas) {
  const levels = [...new Set(atlas.blocks.filter((b) => b.kind === "down" || b.kind === "up").map((b) => b.level ?? 0))];
  levels.sort((a, b) => a - b);
  const sides = { down: [], up: [] };
  const rows = Math.max(levels.length, count(atlas, "down"), count(atlas, "up"));
  const indent = rows > 1 ? Math.min(38, 120 / (rows - 1)) : 0;
  const boxes = new Map();
  atlas.blocks.forEach((block, index) => {
    if (block.kind === "down" || block.kind === "up") {
      sides[block.kind].push(index);
    }
  });
  const place = (index, row, right) => {
    const inset = 74 + row * indent;
    const x = right ? WIDTH - inset - BOX.width : inset;
    boxes.set(index, { x, y: TOP + row * (BOX.height + BOX.gap), width: BOX.width, height: BOX.height, row });
  };
  sides.down.forEach((index, row) => place(index, row, false));
  sides.up.forEach((index, at) => place(index, sides.up.length - 1 - at, true));
  const bottom = TOP + rows * (BOX.height + BOX.gap);
  atlas.blocks.forEach((block, index) => {
    const small = { width: 176, height: 38, row: -1 };
    if (block.kind === "mid") {
      boxes.set(index, { x: (WIDTH - BOX.width) / 2, y: bottom, width: BOX.width, height: BOX.height, row: rows });
    } else if (block.kind === "time") {
      boxes.set(index, { ...small, x: TIME_X - 12, y: 50 });
    } else if (block.kind === "text") {
      boxes.set(index, { ...small, x: 260, y: 6 });
    } else if (block.kind === "conv_in") {
      boxes.set(index, { ...small, x: 74 + BOX.width - 176, y: 102 });
    } else if (block.kind === "conv_out") {
      boxes.set(index, { ...small, x: WIDTH - 74 - BOX.width, y: 102 });
    }
  });
  const hasMid = atlas.blocks.some((block) => block.kind === "mid");
  return { boxes, rows, indent, bottom, width: WIDTH, height: bottom + (hasMid ? BOX.height : 0) + 62 };
}

function count(atlas, kind) {
  return atlas.blocks.filter((block) => block.kind === kind).length;
}

// Draws the map. `pick(node, open)` is called on a click, `hover(node, element)` on a visit.
export function drawMap(atlas, options) {
  const plan = layout(atlas);
  const root = svg("svg", {
    class: "map", viewBox: `0 0 ${plan.width} ${plan.height}`, role: "group",
    "aria-label": `Map of ${atlas.name}: ${atlas.blocks.length} blocks, ${atlas.skips.length} skip connections`,
  });
  root.append(arrowheads(), bands(atlas, plan), buses(atlas, plan, options), flow(atlas, plan));
  root.append(drawSkips(atlas, plan, options));
  atlas.blocks.forEach((block, index) => {
    const box = plan.boxes.get(index);
    if (box) {
      root.append(box.height > 50 ? drawBlock(atlas, block, box, options) : drawSmall(atlas, block, box, options));
    }
  });
  root.append(summary(atlas, plan));
  return root;
}

function arrowheads() {
  const marker = (id, kind) =>
    svg("marker", { id, class: `head ${kind}`, viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 10, markerHeight: 10, markerUnits: "userSpaceOnUse", orient: "auto" },
      svg("path", { d: "M0 0 8 4 0 8z" }));
  return svg("defs", {}, ["image", "time", "text", "skip"].map((kind) => marker(`head-${kind}`, kind)));
}

function bands(atlas, plan) {
  const group = svg("g", { class: "bands", "aria-hidden": "true" });
  for (let row = 0; row < plan.rows; row += 1) {
    const y = TOP + row * (BOX.height + BOX.gap);
    group.append(svg("rect", { class: "band", x: 60 + row * plan.indent, y: y - 8, width: WIDTH - 120 - 2 * row * plan.indent, height: BOX.height + 16, rx: 14 }));
  }
  return group;
}

function interactive(group, node, label, options) {
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

function drawBlock(atlas, block, box, options) {
  const node = atlas.nodes[block.nodes[0]];
  const name = node.path;
  const [, channels, ...size] = block.shape ?? [];
  const level = block.level === null || block.level === undefined ? "" : `level ${block.level}, `;
  const label = `${name}, ${level}${shapeText(block.shape)}, ${compact(block.params)} parameters, ${share(block.flops, atlas.flops)} of the FLOPs`;
  const group = svg("g", { class: `block side-${block.kind}`, transform: `translate(${box.x} ${box.y})` });
  interactive(group, node.id, label, options);
  group.append(
    svg("rect", { class: "card", width: box.width, height: box.height, rx: 10 }),
    svg("text", { class: "name", x: 12, y: 20 }, name.length > 18 ? `${name.slice(0, 17)}…` : name),
    svg("text", { class: "shape", x: box.width - 12, y: 20, "text-anchor": "end" },
      channels === undefined ? "" : `${channels} × ${shapeText(size, options.numbers ? atlas.nominal : null)}`),
  );
  const width = Math.min(30, (box.width - 24 + 4) / Math.max(block.parts.length, 1)) - 4;
  block.parts.forEach((part, at) => group.append(drawPart(atlas, part, 12 + at * (width + 4), width, options)));
  const most = Math.max(...atlas.blocks.map((other) => other.flops), 1);
  group.append(
    svg("rect", { class: "track", x: 12, y: 60, width: 92, height: 6, rx: 3 }),
    svg("rect", { class: "fill", x: 12, y: 60, width: Math.max(2, (92 * block.flops) / most), height: 6, rx: 3 }),
    svg("text", { class: "cost", x: box.width - 12, y: 67, "text-anchor": "end" },
      `${compact(block.params)} · ${share(block.flops, atlas.flops)} FLOPs`),
  );
  return group;
}

function drawPart(atlas, part, x, width, options) {
  const node = atlas.nodes[part.node];
  const times = part.attentions.length > 2 ? `, ${part.attentions.length} attentions` : "";
  const group = svg("g", { class: `part ${roleClass(part.role)}`, transform: `translate(${x} 28)` });
  interactive(group, node.id, `${node.path}: ${roleLabel(part.role)}${times}`, options);
  group.append(
    svg("rect", { class: "chip", width, height: 24, rx: 6 }),
    svg("text", { class: "letter", x: width / 2, y: 16.5, "text-anchor": "middle" }, roleLetter(part.role)),
  );
  if (part.injects) {
    group.append(svg("circle", { class: "drop time", cx: width - 2, cy: 2, r: 4 }));
  }
  if (part.attentions.includes("cross_attention") || part.attentions.includes("joint_attention")) {
    group.append(svg("circle", { class: "drop text", cx: width - 2, cy: 2, r: 4 }));
  }
  return group;
}

const SMALL = { time: "time embedding", text: "text", conv_in: "conv in", conv_out: "conv out" };

function drawSmall(atlas, block, box, options) {
  const node = atlas.nodes[block.nodes[0]];
  const role = { time: "time_embedding" }[block.kind] ?? block.kind;
  const label = `${SMALL[block.kind]}, ${shapeText(block.shape)}, ${compact(block.params)} parameters`;
  const group = svg("g", { class: `block small ${roleClass(role)}`, transform: `translate(${box.x} ${box.y})` });
  interactive(group, node.id, label, options);
  group.append(
    svg("rect", { class: "card", width: box.width, height: box.height, rx: 9 }),
    svg("rect", { class: "mark", width: 5, height: box.height - 16, x: 8, y: 8, rx: 2.5 }),
    svg("text", { class: "name", x: 22, y: 16 }, SMALL[block.kind]),
    svg("text", { class: "cost", x: 22, y: 30 },
      `${shapeText(block.shape, options.numbers ? atlas.nominal : null)} · ${compact(block.params)}`),
  );
  return group;
}

function pill(x, y, text, kind) {
  const width = 22 + text.length * 6.9;
  return svg("g", { class: `pill ${kind}`, transform: `translate(${x} ${y})` },
    svg("rect", { width, height: 26, rx: 13 }),
    svg("text", { x: width / 2, y: 17, "text-anchor": "middle" }, text));
}

function inputOf(atlas, kind) {
  return atlas.inputs.map((id) => atlas.values[id]).find((value) => value.flow === kind);
}

// Time and text, each one line around the U with a tap at every block that takes it.
function buses(atlas, plan, options) {
  const group = svg("g", { class: "buses" });
  const taps = { time: [], text: [] };
  atlas.blocks.forEach((block, index) => {
    const box = plan.boxes.get(index);
    if (box && block.parts.some((part) => part.injects)) {
      taps.time.push([block, box]);
    }
    if (box && block.parts.some((part) => part.attentions.some((role) => role !== "self_attention"))) {
      taps.text.push([block, box]);
    }
  });
  const boxed = atlas.blocks.some((block) => block.kind === "time");
  const starts = { time: [TIME_X, boxed ? 88 : 69], text: [TEXT_X, 29] };
  for (const [kind, [x, y]] of Object.entries(starts)) {
    const input = inputOf(atlas, kind);
    if (taps[kind].length === 0) {
      continue;
    }
    const low = plan.height - 62 + (kind === "time" ? 20 : 40);
    group.append(svg("path", { class: `bus ${kind}`, d: line(kind, x, y, taps[kind], low) }));
    for (const [block, box] of taps[kind]) {
      group.append(svg("path", { class: `tap ${kind}`, d: tap(kind, x, block, box, low), "marker-end": `url(#head-${kind})`, "data-block": atlas.blocks.indexOf(block) }));
    }
    const text = input ? `${input.name}  ${shapeText(input.shape, options.numbers ? atlas.nominal : null)}` : kind;
    if (kind === "time" && boxed) {
      group.append(svg("path", { class: "tap time", d: "M236 69H210", "marker-end": "url(#head-time)" }), pill(236, 56, text, kind));
    } else {
      group.append(pill(x - 12, y - 13, text, kind));
    }
  }
  return group;
}

// Down the left side as far as it is needed, then under the U, then up the right side.
function line(kind, x, y, taps, low) {
  const heights = (side) => taps.filter(([block]) => block.kind === side).map(([, box]) => box.y + (kind === "time" ? 26 : 52));
  const rise = heights("up");
  const [mid] = taps.filter(([block]) => block.kind === "mid");
  if (rise.length > 0) {
    return `M${x} ${y}V${low}H${WIDTH - x}V${Math.min(...rise)}`;
  }
  if (mid) {
    return `M${x} ${y}V${low}H${mid[1].x + mid[1].width / 2 + (kind === "time" ? -40 : 40)}`;
  }
  return `M${x} ${y}V${Math.max(...heights("down"))}`;
}

function tap(kind, x, block, box, low) {
  if (block.kind === "mid") {
    const at = box.x + box.width / 2 + (kind === "time" ? -40 : 40);
    return `M${at} ${low}V${box.y + box.height + 1}`;
  }
  const y = box.y + (kind === "time" ? 26 : 52);
  return block.kind === "up" ? `M${WIDTH - x} ${y}H${box.x + box.width + 1}` : `M${x} ${y}H${box.x - 1}`;
}

// The image: in at the top left, down, across the middle, up and out.
function flow(atlas, plan) {
  const group = svg("g", { class: "flow", "aria-hidden": "true" });
  const order = atlas.blocks.map((block, index) => [block, plan.boxes.get(index)])
    .filter(([block, box]) => box && block.kind !== "time" && block.kind !== "text");
  for (let at = 1; at < order.length; at += 1) {
    const [[, a], [block, b]] = [order[at - 1], order[at]];
    group.append(svg("path", { class: "wire", d: wire(a, b, block.kind), "marker-end": "url(#head-image)" }));
  }
  const [first, last] = [order[0]?.[1], order.at(-1)?.[1]];
  const input = inputOf(atlas, "image");
  const output = atlas.values[atlas.outputs[0]];
  if (first && input) {
    group.append(svg("path", { class: "wire", d: `M${first.x - 22} ${first.y + 19}H${first.x - 1}`, "marker-end": "url(#head-image)" }), pill(first.x - 80, first.y + 6, input.name, "image"));
  }
  if (last && output) {
    group.append(svg("path", { class: "wire", d: `M${last.x + last.width} ${last.y + 19}h21`, "marker-end": "url(#head-image)" }), pill(last.x + last.width + 22, last.y + 6, output.name, "image"));
  }
  return group;
}

function wire(a, b, kind) {
  const middle = (box) => box.x + box.width / 2;
  const [x, to] = [middle(a), middle(b)];
  if (kind === "mid") {
    return `M${x} ${a.y + a.height}C${x} ${b.y + 38} ${x} ${b.y + 38} ${b.x - 1} ${b.y + 38}`;
  }
  if (kind !== "up" && kind !== "conv_out") {
    return `M${x} ${a.y + a.height}C${x} ${a.y + a.height + 20} ${to} ${b.y - 20} ${to} ${b.y - 1}`;
  }
  const end = b.y + b.height;
  if (end < a.y && a.x > WIDTH / 2) {
    return `M${x} ${a.y}C${x} ${a.y - 20} ${to} ${end + 20} ${to} ${end + 1}`;
  }
  return `M${a.x + a.width} ${a.y + 38}C${to} ${a.y + 38} ${to} ${a.y + 38} ${to} ${end + 1}`;
}

// Skips leave the right edge of a down block and arrive at the left edge of an up block.
function drawSkips(atlas, plan, options) {
  const group = svg("g", { class: "skips" });
  const ends = new Map();
  for (const skip of atlas.skips) {
    const from = blockOf(atlas, skip.source);
    const to = blockOf(atlas, skip.sink);
    for (const [key, skips] of [[`out${from}`, from], [`in${to}`, to]]) {
      if (skips !== null) {
        ends.set(key, [...(ends.get(key) ?? []), skip.id]);
      }
    }
  }
  const anchor = (key, box, id) => {
    const ids = ends.get(key);
    return box.y + ((ids.indexOf(id) + 1) * box.height) / (ids.length + 1);
  };
  for (const skip of atlas.skips) {
    const [from, to] = [blockOf(atlas, skip.source), blockOf(atlas, skip.sink)];
    const [a, b] = [plan.boxes.get(from), plan.boxes.get(to)];
    if (!a || !b) {
      continue;
    }
    const [x1, x2] = [a.x + a.width, b.x];
    const [y1, y2] = [anchor(`out${from}`, a, skip.id), anchor(`in${to}`, b, skip.id)];
    const bend = (x2 - x1) / 2;
    const text = shapeText(skip.shape?.slice(1), options.numbers ? atlas.nominal : null);
    const path = `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2 - 1} ${y2}`;
    const arc = svg("g", { class: "skip role-skip", "data-skip": skip.id });
    interactive(arc, skip.sink, `skip ${skip.id}: ${atlas.nodes[skip.source].path} to ${atlas.nodes[skip.sink].path}, ${text}`, options);
    arc.append(
      svg("path", { class: "hit", d: path }),
      svg("path", { class: "arc", d: path, "marker-end": "url(#head-skip)" }),
      svg("text", { class: "tag", x: (x1 + x2) / 2, y: (y1 + y2) / 2 - 4, "text-anchor": "middle" }, text),
    );
    group.append(arc);
  }
  return group;
}

export function blockOf(atlas, id) {
  const chain = new Set([id, ...atlas.ancestors(id)]);
  const index = atlas.blocks.findIndex((block) => block.nodes.some((node) => chain.has(node)));
  return index < 0 ? null : index;
}

function summary(atlas, plan) {
  const { batch, height, width, tokens } = atlas.nominal;
  const lines = [
    `${compact(atlas.params)} parameters`,
    `${flopsText(atlas.flops)} a step at B=${batch}, H=${height}, W=${width}, S=${tokens}`,
  ];
  return svg("g", { class: "summary" },
    lines.map((text, at) => svg("text", { x: plan.width - 20, y: 34 + 20 * at, "text-anchor": "end" }, text)));
}
