// The measured time of python -m exporter.profile --report: of a module with all that is in it.

export function timeOf(app, block) {
  const inclusive = app.shown.profile?.inclusive ?? {};
  const modules = block.nodes.map((id) => app.atlas.nodes[id].module);
  const found = modules.filter((name) => name && Number.isFinite(inclusive[name]));
  return found.length > 0
    ? [...new Set(found)].reduce((sum, name) => sum + inclusive[name], 0)
    : null;
}

// The same of one node: 0 to 1 of the longest block, or null.
export function heatOf(app, atlas, node) {
  const inclusive = app.shown.profile?.inclusive ?? {};
  const time = node.module ? inclusive[node.module] : undefined;
  if (!Number.isFinite(time)) {
    return null;
  }
  const blocks = atlas.blocks.map(
    (block) => inclusive[atlas.nodes[block.nodes[0]].module] ?? 0,
  );
  return Math.min(1, time / Math.max(...blocks, 1));
}
