// Which of our calls is open in Netron, and how Netron gets to one.

import { within } from "./nested.js";
import { now } from "./now.js";

// Netron's stack of open functions, for a chain of our calls from the outermost inwards.
export function stackFor(model, chain) {
  let graph = model.modules[0];
  const entry = (target) => ({ target, signature: target.signatures?.[0] ?? null });
  const stack = [entry(graph)];
  for (const id of chain) {
    const call = now.atlas.nodes[id];
    const node = within(graph).find((one) => firstOutput(one) === (call.locals ?? [])[0]);
    if (!node || !Array.isArray(node.type?.nodes)) {
      return null;
    }
    stack[0].state = { context: node, zoom: 1, blocks: new Set() };
    graph = node.type;
    stack.unshift(entry(graph));
  }
  return stack;
}

export function firstOutput(node) {
  return node.outputs?.[0]?.value?.[0]?.name;
}

// Which of our calls is open: by its function, or along the calls that led here.
export function scopeOf(stack) {
  const open = stack[0]?.target;
  const is = (node) =>
    node.kind === "call" && node.op === open?.name && node.domain === open?.module;
  const fits = now.atlas.nodes.flatMap((node, id) => (is(node) ? [id] : []));
  if (fits.length === 1) {
    return fits[0];
  }
  let found = null;
  for (const entry of stack.slice(1).reverse()) {
    const name = entry.state?.context && firstOutput(entry.state.context);
    found = insideOf(found).find((id) => now.atlas.nodes[id].locals?.[0] === name) ?? null;
  }
  return found ?? fits[0] ?? null;
}

export function insideOf(id) {
  const children = id === null ? now.atlas.top : (now.atlas.nodes[id].children ?? []);
  return children.flatMap((child) =>
    now.atlas.nodes[child].kind === "group" ? insideOf(child) : [child],
  );
}
