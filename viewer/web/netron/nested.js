// The nodes of a graph, and those that a loop in it repeats.
export function within(graph) {
  const bodies = graph.nodes.flatMap((node) =>
    (node.attributes ?? []).map((one) => one.value?.nodes).filter(Array.isArray),
  );
  return [...graph.nodes, ...bodies.flat()];
}
