// Paths through the flow of data, across every level: functions and their callers share values.

import { blockOf } from "./layout.js";

function dataOf(atlas, node) {
  // Shape reads no data: a path through it would be none.
  return node.role === "shape" || node.op === "Shape" || node.op === "Size" ? [] : node.out;
}

function spread(atlas, start, next) {
  const before = new Map([[start, null]]);
  const queue = [start];
  while (queue.length > 0) {
    const value = queue.shift();
    for (const [other, node] of next(value)) {
      if (!before.has(other)) {
        before.set(other, [value, node]);
        queue.push(other);
      }
    }
  }
  return before;
}

function forward(atlas) {
  return (value) =>
    (atlas.consumers.get(value) ?? []).flatMap((id) =>
      dataOf(atlas, atlas.nodes[id]).map((out) => [out, id]),
    );
}

function backward(atlas) {
  return (value) => {
    const producer = atlas.values[value].producer;
    if (producer === null || dataOf(atlas, atlas.nodes[producer]).length === 0) {
      return [];
    }
    return atlas.nodes[producer].in.filter((one) => one >= 0).map((one) => [one, producer]);
  };
}

// Everything between two values, and one shortest way; through the value that `choose` names among
// the nodes in between, where it names one. null when the second does not depend on the first.
export function trace(atlas, from, to, choose = () => null) {
  const ahead = spread(atlas, from, forward(atlas));
  if (!ahead.has(to)) {
    return null;
  }
  const behind = spread(atlas, to, backward(atlas));
  const values = new Set([...ahead.keys()].filter((value) => behind.has(value)));
  const nodes = new Set();
  for (const value of values) {
    const producer = atlas.values[value].producer;
    if (
      producer !== null &&
      value !== from &&
      atlas.nodes[producer].in.some((one) => values.has(one))
    ) {
      nodes.add(producer);
    }
  }
  const through = choose(nodes);
  const steps =
    through !== null && values.has(through)
      ? [...way(ahead, through), ...way(spread(atlas, through, forward(atlas)), to)]
      : way(ahead, to);
  return { from, to, values, nodes, steps };
}

function way(before, to) {
  const steps = [];
  for (let value = to; before.get(value) !== null && before.get(value) !== undefined;) {
    const [previous, node] = before.get(value);
    steps.unshift({ node, value });
    value = previous;
  }
  return steps;
}

// A path is lit at every level: calls that hold a lit operator are lit as well, and the lines of
// the map that it takes.
export function litEverywhere(atlas, found) {
  const nodes = new Set();
  for (const id of found.nodes) {
    nodes.add(id);
    atlas.ancestors(id).forEach((one) => nodes.add(one));
  }
  const crossed = atlas.skips.filter(
    (skip) => skip.value !== null && found.values.has(skip.value) && nodes.has(skip.sink),
  );
  const buses = new Set([...found.values].map((id) => atlas.values[id].flow));
  const doors = [
    ...atlas.injections.flatMap((one) => one.nodes),
    ...atlas.attentions.map((one) => one.node),
  ].filter((id) => nodes.has(id));
  const taps = new Set();
  for (const id of doors) {
    ["time", "text", "prompt"].forEach((kind) => taps.add(`${kind} ${blockOf(atlas, id)}`));
  }
  return {
    nodes,
    values: found.values,
    skips: new Set(crossed.map((one) => one.id)),
    buses,
    taps,
  };
}

// Values by the names people use for them: inputs, outputs, then every named one.
export function valueNamed(atlas, text) {
  if (!text) {
    return null;
  }
  if (/^#\d+$/.test(text)) {
    return atlas.values[Number(text.slice(1))]?.id ?? null;
  }
  const ends = [...atlas.inputs, ...atlas.outputs].map((id) => atlas.values[id]);
  const known = [...ends, ...atlas.values].find((value) => value.name === text);
  if (known) {
    return known.id;
  }
  const node = atlas.byPath.get(text) ?? atlas.byModule.get(text);
  return node?.out[0] ?? null;
}
