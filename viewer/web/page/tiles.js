// The pieces of a block as words: one tile a piece, one row a layer.

import { resized } from "./counting.js";
import { textWidth } from "./labels.js";
import { doorOf, roleLabel } from "./roles.js";

const STARTS = new Set(["resnet", "downsample", "upsample"]);

// Names of tiles that stand in one row only when there is much room.
const SHORT = { self_attention: "self-attn", cross_attention: "cross-attn" };
const WIDE = 330;
const BOLD = 1.06; // how much wider bold letters are

export function wordFor(role, room) {
  return room < WIDE && SHORT[role] ? SHORT[role] : roleLabel(role);
}

// Rows of tiles: {node, role, word, injects, door, places}.
export function tileRows(atlas, block, room) {
  const rows = [];
  for (const part of block.parts) {
    const tiles = tilesOf(atlas, part, room);
    if (rows.length === 0 || STARTS.has(part.role)) {
      rows.push([]);
    }
    rows.at(-1).push(...tiles);
  }
  return rows;
}

function tilesOf(atlas, part, room) {
  const inside = new Set(atlas.inside(part.node));
  const attentions = atlas.attentions.filter((one) => inside.has(one.node));
  if (attentions.length === 0) {
    const note = resized(atlas, part)?.note;
    const word = part.role ? roleLabel(part.role) : atlas.segment(part.node);
    const tile = { node: part.node, role: part.role, word, injects: part.injects };
    return [{ ...tile, word: note ? `${word} ${note}` : word, note, places: [part.node] }];
  }
  return [...new Set(attentions.map((one) => one.role))].map((role, at) => {
    const mine = attentions.filter((one) => one.role === role);
    const times = mine.length > 1 ? ` ×${mine.length}` : "";
    return {
      node: mine[0].call,
      role,
      word: `${wordFor(role, room)}${times}`,
      injects: at === 0 && part.injects,
      door: doorOf(role),
      places: mine.map((one) => one.node),
    };
  });
}

// Tiles put beside one another as far as the width goes; each with its x, row and width.
export function flowed(rows, room, font) {
  const placed = [];
  let line = 0;
  for (const row of rows) {
    let x = 0;
    for (const tile of row) {
      const width = Math.min(room, textWidth(tile.word, font * BOLD) + 10);
      if (x > 0 && x + width > room) {
        x = 0;
        line += 1;
      }
      placed.push({ tile, x, line, width });
      x += width + 4;
    }
    line += 1;
  }
  return { placed, lines: line };
}
