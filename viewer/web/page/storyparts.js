// What the stories of a model are told with.

import { elements, numbersOf, resized } from "./counting.js";
import { blockOf } from "./layout.js";
import { plural, shapeText } from "./numbers.js";
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

export function places(atlas, block) {
  const size = numbersOf(block.work?.slice(2), atlas.nominal);
  return size && size.length === 2 ? { text: size.join("×"), count: elements(size) } : null;
}

export function sided(atlas) {
  return atlas.blocks.filter((block) => ["down", "mid", "up"].includes(block.kind));
}

export function skipsOf(atlas, block) {
  const index = atlas.blocks.indexOf(block);
  return atlas.skips.filter(
    (skip) => blockOf(atlas, skip.source) === index || blockOf(atlas, skip.sink) === index,
  );
}

export function passing(atlas, block) {
  const name = nameOf(atlas, block);
  if (block.kind === "conv_in" || block.kind === "conv_out") {
    return `${name} makes ${block.shape?.[1] ?? "?"} channels of it (${at(atlas, block.shape)}).`;
  }
  const index = atlas.blocks.indexOf(block);
  const cross = attentionsIn(atlas, block, crossing).length;
  const self = attentionsIn(atlas, block, (role) => !crossing(role)).length;
  const resnets = block.parts.filter((part) => part.role === "resnet").length;
  const parts = [
    [resnets, "resnet"],
    [self, "self-attention"],
    [cross, "cross-attention"],
  ]
    .filter(([many]) => many > 0)
    .map(([many, what]) => plural(many, what));
  const leaving = atlas.skips.filter((skip) => blockOf(atlas, skip.source) === index);
  const coming = atlas.skips.filter((skip) => blockOf(atlas, skip.sink) === index);
  const changes = block.parts.map((part) => resized(atlas, part)).filter(Boolean);
  return [
    `${name}, ${placeOf(block)}: ${block.work?.[1] ?? "?"} channels at ${at(atlas, block.work?.slice(2))}${parts.length > 0 ? `, worked on by ${parts.join(", ")}` : ""}.`,
    coming.length > 0 ? `${plural(coming.length, "skip")} join here.` : "",
    leaving.length > 0 ? `${plural(leaving.length, "skip")} leave for the other side.` : "",
    ...changes.map(change),
  ]
    .filter(Boolean)
    .join(" ");
}

// One sentence on a change of resolution: which side decides, and what is rounded.
export function change({ role, from, to, plain, odd }) {
  const [a, b] = [from.join("×"), to.join("×")];
  if (role === "downsample") {
    return `Then ${a} is halved to ${b}${odd ? `: ${plain.join("×")} rounded up` : ""}.`;
  }
  return odd
    ? `Then ${a} is enlarged to ${b}, not to ${plain.join("×")}: the skip that waits there decides the size.`
    : `Then ${a} is doubled to ${b}.`;
}
