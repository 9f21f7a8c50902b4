// Where everything of the map lies, in pixels of the screen: pure arithmetic, so that text keeps
// its size however wide the page is. Map, trace and export agree on it.

import { skipLabel, widthOf } from "./labels.js";
import { flowed, tileRows } from "./tiles.js";

export const WIDTH = 1000;
const NARROW = 700;
const THUMB = 480;
const FONT = 12;
const ROW = 257; // pixels of a box in which a resnet and two attentions stand side by side
const ARCS = 34; // pixels for the arcs of skips on both sides of their labels
export const LINE = 24;

// What depends on the width: gutters, lane, sizes of what is hit. `label` is the widest label
// between the arms, in pixels.
function measures(width, rows, label) {
  const narrow = width < NARROW;
  if (narrow) {
    const gutter = 36;
    const lane = width >= THUMB ? 132 : 88;
    return {
      narrow, alive: width >= THUMB, gutter, lane, indent: 0, text: 9, time: 22, gap: 34, pill: 44, between: 48, head: 42,
      foot: 40, box: Math.floor((width - 2 * gutter - lane) / 2),
    }; // prettier-ignore
  }
  const gutter = width >= 860 ? 68 : 58;
  const lane = Math.max(label + ARCS, 152);
  const spare = (width - 2 * gutter - lane) / 2 - ROW;
  const indent = rows > 1 ? Math.min(34, Math.max(4, spare / (rows - 1))) : 0;
  return {
    narrow, alive: true, gutter, lane, indent, text: 18, time: 42, prompt: 6, gap: 30, pill: 24, between: 29, head: 28, foot: 24,
    box: Math.min(308, Math.floor((width - 2 * gutter - 2 * indent * (rows - 1) - lane) / 2)),
  }; // prettier-ignore
}

export function layout(atlas, width = WIDTH) {
  const sides = { down: [], up: [] };
  atlas.blocks.forEach((block, index) =>
    sides[block.kind === "zero" ? "up" : block.kind]?.push(index),
  );
  sides.up.reverse();
  const rows = Math.max(sides.down.length, sides.up.length);
  const size = measures(width, rows, widestLabel(atlas));
  const plan = { width, rows, size, boxes: new Map(), bands: [], pills: new Map() };
  const tiles = atlas.blocks.map((block) =>
    placeTiles(atlas, block, insideOf(block, size, width) - 20),
  );
  const height = (index) => size.head + tiles[index].lines * LINE + size.foot;
  let y = top(atlas, plan);
  for (let row = 0; row < rows; row += 1) {
    const both = [sides.down[row], sides.up[row]].filter((index) => index !== undefined);
    const crossing = atlas.skips.filter((skip) => both.includes(blockOf(atlas, skip.sink)));
    const tall = Math.max(...both.map(height), (1 + crossing.length) * size.between);
    for (const index of both) {
      const inset = size.gutter + row * size.indent;
      const right = index === sides.up[row];
      const x = right ? width - inset - size.box : inset;
      const placed = { x, y, width: size.box, height: height(index), row };
      plan.boxes.set(index, { ...placed, tiles: tiles[index].placed });
    }
    const level = both.map((index) => atlas.blocks[index].level).find((one) => one >= 0);
    plan.bands.push({ row, y, height: tall, level: level ?? null });
    y += tall + size.gap;
  }
  const mid = atlas.blocks.findIndex((block) => block.kind === "mid");
  if (mid >= 0) {
    const wide = insideOf(atlas.blocks[mid], size, width);
    const placed = { x: (width - wide) / 2, y, width: wide, height: height(mid), row: rows };
    plan.boxes.set(mid, { ...placed, tiles: tiles[mid].placed });
    y += height(mid) + 22;
  }
  plan.low = y;
  plan.height = y + (size.narrow ? 116 : 66);
  placeLabels(atlas, plan);
  return plan;
}

function widestLabel(atlas) {
  return Math.max(
    0,
    ...atlas.skips.map((skip) => widthOf([skipLabel(skip, null).join(" · ")])),
  );
}

function placeTiles(atlas, block, room) {
  return flowed(tileRows(atlas, block, room), room, FONT);
}

function insideOf(block, size, width) {
  return block.kind === "mid" && size.narrow ? width - 2 * size.gutter : size.box;
}

// What stands beside the text: the image of an IP-Adapter, else that of a ControlNet.
function third(atlas) {
  return atlas.blocks.some((block) => block.kind === "image_prompt") ? "prompt" : "control";
}

// The inputs, the outputs and what stands around the U; returns where the U begins.
function top(atlas, plan) {
  const { size, width, boxes } = plan;
  const { narrow, gutter } = size;
  const tall = narrow ? 44 : 40;
  const at = (kind, box) => {
    const index = atlas.blocks.findIndex((block) => block.kind === kind);
    if (index >= 0) {
      boxes.set(index, { row: -1, height: tall, tiles: [], ...box });
    }
  };
  const right = width - gutter - size.box;
  if (narrow) {
    const half = (width - 20 - size.time) / 2;
    plan.inputs = {
      text: { x: 4, y: 6, width: width - 8, height: 44 },
      time: { x: size.time - 10, y: 58, width: half, height: 44 },
      sample: { x: gutter, y: 114, width: size.box, height: 44 },
      out: { x: right, y: 114, width: size.box, height: 44 },
    };
    at("time", { x: size.time + half + 6, y: 58, width: half });
    at("text", { x: width / 2 + 10, y: 6, width: width / 2 - 14 });
    at("conv_in", { x: gutter, y: 182, width: size.box });
    at("conv_out", { x: right, y: 182, width: size.box });
    return 256;
  }
  const pill = 92;
  const gap = size.box < pill + 104 + 30 ? 14 : 30;
  const conv = size.box - pill - gap;
  plan.inputs = {
    text: { x: 6, y: 4, width: 290, height: 28 },
    [third(atlas)]: { x: 316, y: 4, width: Math.min(300, width - 322), height: 28 },
    time: { x: size.time - 12, y: 42, width: 158, height: 28 },
    sample: { x: gutter, y: 91, width: pill, height: 28 },
    out: { x: width - gutter - pill, y: 91, width: pill, height: 28 },
  };
  at("text", { x: 316, y: 2, width: 190 });
  if (width >= 840) {
    at(third(atlas) === "prompt" ? "image_prompt" : "control_image", {
      x: 640,
      y: 2,
      width: 190,
    });
  }
  at("time", { x: size.time + 176, y: 36, width: 210 });
  at("conv_in", { x: gutter + pill + gap, y: 85, width: conv });
  at("conv_out", { x: right, y: 85, width: conv });
  return 152;
}

// One column of labels between the arms: each level where it begins, and below it the skips that
// arrive there.
function placeLabels(atlas, plan) {
  const { size, boxes } = plan;
  const known = atlas.skips
    .map((skip) => ({ skip, ends: [blockOf(atlas, skip.source), blockOf(atlas, skip.sink)] }))
    .filter(({ ends }) => ends.every((index) => boxes.has(index)));
  plan.bands.forEach((band, row) => {
    const first = band.y - (size.narrow ? 4 : 2);
    plan.pills.set(`level ${row}`, { y: first, level: band.level });
    const here = known.filter(({ ends }) => boxes.get(ends[1]).row === row);
    here.forEach((one, at) => {
      plan.pills.set(`skip ${one.skip.id}`, { ...one, y: first + (at + 1) * size.between });
    });
  });
}

export function blockOf(atlas, id) {
  const chain = new Set([id, ...atlas.ancestors(id)]);
  const index = atlas.blocks.findIndex((block) => block.nodes.some((node) => chain.has(node)));
  return index < 0 ? null : index;
}
