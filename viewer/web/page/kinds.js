// What kinds of modules cost: resnets, attentions and so on.

import { flopsWord, share } from "./numbers.js";
import { roleLabel } from "./roles.js";

// The kinds of modules by their FLOPs: of every operator, the innermost module of a kind.
const KINDS = [
  "resnet",
  "self_attention",
  "cross_attention",
  "feed_forward",
  "downsample",
  "upsample",
];

export function flopsByRole(atlas) {
  const sums = new Map();
  for (const node of atlas.nodes) {
    if (node.kind !== "op") {
      continue;
    }
    const chain = [
      node,
      ...atlas
        .ancestors(node.id)
        .reverse()
        .map((id) => atlas.nodes[id]),
    ];
    const role = chain.map((one) => one.role).find((one) => KINDS.includes(one));
    if (role) {
      sums.set(role, (sums.get(role) ?? 0) + node.flops);
    }
  }
  return sums;
}

// The same as a sentence.
export function byRole(atlas) {
  const sorted = [...flopsByRole(atlas)].sort((a, b) => b[1] - a[1]);
  return sorted.length > 0
    ? `By kind: ${sorted.map(([role, flops]) => `${roleLabel(role)} ${share(flops, atlas.flops)}`).join(", ")} of the ${flopsWord(atlas)}.`
    : "The file names no roles, so kinds cannot be told apart.";
}
