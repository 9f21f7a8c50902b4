// What the stories of a model are told with.

import { shapeText } from "./numbers.js";
import { doorOf } from "./roles.js";

export const SMALL = { time: "time embedding", conv_in: "first conv", conv_out: "last conv" };

export const at = (atlas, shape) => shapeText(shape, atlas.nominal);
export const nameOf = (atlas, block) => SMALL[block.kind] ?? atlas.nodes[block.nodes[0]].path;

export function placeOf(block) {
  const way = { down: "on the way down", mid: "at the bottom", up: "on the way up" };
  const level =
    block.level === null || block.level === undefined ? "" : `level ${block.level}, `;
  return `${level}${way[block.kind] ?? "around the U"}`;
}

// The attentions in a block, of the roles that are asked for.
export function attentionsIn(atlas, block, fits) {
  const inside = new Set(block.nodes.flatMap((id) => atlas.inside(id)));
  return atlas.attentions.filter((one) => inside.has(one.node) && fits(one.role));
}
export const crossing = (role) => doorOf(role) === "text";

export const stop = (say, more = {}) => ({
  say, blocks: [], flows: [], skips: [], nodes: [], ...more,
}); // prettier-ignore
