// What the image loses without a part: the table of python -m exporter.sample --importance.

// Of a node's module; where the table has only what lies inside it, the most of that; or null.
export function lossOf(app, node) {
  const losses = app.shown.importance?.modules ?? {};
  if (!node.module) {
    return null;
  }
  if (Number.isFinite(losses[node.module])) {
    return losses[node.module];
  }
  const inside = Object.keys(losses).filter((one) => one.startsWith(`${node.module}.`));
  return inside.length > 0 ? Math.max(...inside.map((one) => losses[one])) : null;
}

// The same, 0 to 1 of the part that matters most, or null.
export function importanceOf(app, node) {
  const loss = lossOf(app, node);
  const most = Math.max(...Object.values(app.shown.importance?.modules ?? {}), 1e-12);
  return loss === null ? null : loss / most;
}
