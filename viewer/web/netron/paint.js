// Roles, paths and flows as classes on what Netron draws.

import { now } from "./now.js";
import { lendRanges } from "./ranges.js";
import { firstOutput, insideOf } from "./stack.js";

export function prepare(graph) {
  const byOutput = new Map(
    insideOf(now.scope).map((id) => [now.atlas.nodes[id].locals?.[0], id]),
  );
  now.members = new Map();
  for (const node of graph?.nodes ?? []) {
    lendRanges(node);
    const id = byOutput.get(firstOutput(node));
    if (id === undefined) {
      continue;
    }
    now.members.set(node, id);
    const role = now.atlas.nodes[id].role;
    if (!role) {
      continue;
    }
    if (Array.isArray(node.type?.nodes)) {
      node.type.category = `atlas-${role}`;
    } else {
      node.type = { ...node.type, category: `atlas-${role}` };
    }
  }
}

function elementOf(node) {
  const drawn = now.view.target?._table?.get(node);
  return drawn?.element ?? document.getElementById(`node-name-${node.name}`);
}

function flows() {
  const named = new Map();
  const note = (names, ids) =>
    names?.forEach((name, at) => ids?.[at] >= 0 && named.set(name, ids[at]));
  if (now.scope === null) {
    now.atlas.inputs.forEach((id) => named.set(now.atlas.values[id][0], id));
  } else {
    note(now.atlas.nodes[now.scope].formals, now.atlas.nodes[now.scope].in);
  }
  insideOf(now.scope).forEach((id) =>
    note(now.atlas.nodes[id].locals, now.atlas.nodes[id].out),
  );
  return named;
}

export function paint() {
  const nodes = now.lit && new Set(now.lit.nodes);
  const values = now.lit && new Set(now.lit.values);
  for (const [node, id] of now.members) {
    const element = elementOf(node);
    if (element) {
      const role = now.atlas.nodes[id].role;
      element.classList.add("atlas-node");
      element.dataset.role = role ?? "";
      element.classList.toggle("atlas-off", now.hidden.has(role));
      element.classList.toggle("atlas-lit", Boolean(nodes?.has(id)));
    }
  }
  const named = flows();
  for (const edge of document.querySelectorAll(".edge-path")) {
    const value = named.get(edge.id.replace(/^edge-/, ""));
    const flow = value === undefined ? "" : now.atlas.values[value][4];
    edge.dataset.flow = flow;
    edge.classList.toggle("atlas-lit", Boolean(values?.has(value)));
  }
  document.documentElement.classList.toggle("atlas-tracing", Boolean(now.lit));
}
