// The blocks that a path passes, in the order of the data, and where it enters the image in each.

import { blockOf } from "./layout.js";
import { doorOf } from "./roles.js";

// Operators in which a path that begins outside the image first touches it, in the order of the
// data: the attentions that read the text, or the injections of the time.
export function doorsOf(atlas, from, nodes) {
  const { flow } = atlas.values[from];
  const all =
    flow === "time"
      ? atlas.injections.flatMap((one) => one.nodes.slice(-1))
      : atlas.attentions.filter((one) => doorOf(one.role) === flow).map((one) => one.node);
  return all.filter((id) => nodes.has(id)).sort((a, b) => a - b);
}

// The value that the first of them gives; null where there is none.
export function firstDoor(atlas, from, nodes) {
  const [door] = doorsOf(atlas, from, nodes);
  return door === undefined ? null : (atlas.nodes[door].out[0] ?? null);
}

// [{block, doors, steps}]; what lies in no block stands with the block before it, and before
// the first one under none.
export function stations(atlas, found) {
  const doors = doorsOf(atlas, found.from, found.nodes).map((id) => [blockOf(atlas, id), id]);
  const first = { block: null, doors: [], steps: [] };
  const known = new Map();
  const at = (index) => {
    if (!known.has(index)) {
      known.set(index, { block: atlas.blocks[index], doors: [], steps: [] });
    }
    return known.get(index);
  };
  doors.forEach(([index, id]) => index !== null && at(index).doors.push(id));
  let here = first;
  for (const step of found.steps) {
    const index = blockOf(atlas, step.node);
    here = index === null ? here : at(index);
    here.steps.push(step);
  }
  const rest = [...known].sort(([a], [b]) => a - b).map(([, one]) => one);
  return first.steps.length > 0 ? [first, ...rest] : rest;
}
