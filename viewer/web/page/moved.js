// How far weights moved between two checkpoints: per weight from the server, per module summed.

// By node (null is the whole model): {change, norm, share}, the norms of B - A and of A.
export function movedModules(atlas, weights) {
  const sums = new Map();
  for (const one of weights.moved ?? []) {
    const node = atlas.byPath.get(one.path);
    if (!node || one.change === null) {
      continue;
    }
    for (const id of [null, ...atlas.ancestors(node.id), node.id]) {
      const sum = sums.get(id) ?? { change: 0, norm: 0 };
      sum.change += one.change ** 2;
      sum.norm += one.norm ** 2;
      sums.set(id, sum);
    }
  }
  for (const sum of sums.values()) {
    sum.change = Math.sqrt(sum.change);
    sum.norm = Math.sqrt(sum.norm);
    sum.share = sum.norm > 0 ? sum.change / sum.norm : Infinity;
  }
  return sums;
}
