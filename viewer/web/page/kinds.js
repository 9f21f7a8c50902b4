// Kinds of modules, by their share of the FLOPs.

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
