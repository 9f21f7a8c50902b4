// Runs inside Netron's page, which we serve unmodified but for this script and a stylesheet.
// It colours what Netron draws, follows the selection, and reads weights by range. When a
// hook that it needs is missing it leaves Netron alone and says so to the page around it.

import { within } from "./nested.js";
import { applyTheme, figure } from "./style.js";

const ORIGIN = window.location.origin;
const NEEDED = ["render", "_updateTarget", "pushTarget", "showNodeProperties"];

let view = null;
let atlas = null;
let members = new Map();
let scope = null;
let wanted = null;
let lit = null;
let hidden = new Set();

// The page around us has asked for the same payload: it is parsed once.
const [, index] = /\/m\/(\d+)\//.exec(window.location.pathname);
const asked =
  window.parent.atlasPayloads?.[index] ??
  fetch("../atlas.json").then((response) => response.json());
const loaded = asked.then((data) => {
  atlas = data;
});

function tell(message) {
  window.parent.postMessage({ from: "netron", ...message }, ORIGIN);
}

Object.defineProperty(window, "__view__", {
  configurable: true,
  get: () => view,
  set: (value) => {
    view = value;
    const missing = NEEDED.filter((name) => typeof value?.[name] !== "function");
    if (missing.length > 0) {
      tell({ type: "degraded", missing });
    } else {
      adopt(value);
    }
  },
});

function adopt(target) {
  const around = (name, make) => {
    target[name] = make(target[name].bind(target));
  };
  around("render", (render) => async (graph, ...rest) => {
    await loaded;
    scope = scopeOf(target._path ?? []);
    prepare(graph);
    const status = await render(graph, ...rest);
    if (status === "") {
      paint();
      fit(target._path?.[0]?.state);
      tell({ type: "opened", scope });
    }
    return status;
  });
  if (typeof target.refresh === "function") {
    around("refresh", (refresh) => async (...args) => {
      const result = await refresh(...args);
      paint();
      return result;
    });
  }
  around("_updateTarget", (update) => async (model, path) => {
    await loaded;
    if (wanted && model && path.length === 1 && path[0].target === model.modules[0]) {
      const stack = stackFor(model, wanted.chain);
      const result = await update(model, stack ?? path);
      settle();
      tell({ type: "shown" });
      return result;
    }
    return update(model, path);
  });
  around("showNodeProperties", (properties) => (node, ...rest) => {
    const id = members.get(node);
    if (id !== undefined) {
      tell({ type: "selected", id });
    }
    return properties(node, ...rest);
  });
  around("pushTarget", (push) => (graph, context) => {
    wanted = null;
    return push(graph, context);
  });
}

// Netron's stack of open functions, for a chain of our calls from the outermost inwards.
function stackFor(model, chain) {
  let graph = model.modules[0];
  const entry = (target) => ({ target, signature: target.signatures?.[0] ?? null });
  const stack = [entry(graph)];
  for (const id of chain) {
    const call = atlas.nodes[id];
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

function firstOutput(node) {
  return node.outputs?.[0]?.value?.[0]?.name;
}

// Which of our calls is open: by its function, or along the calls that led here.
function scopeOf(stack) {
  const open = stack[0]?.target;
  const is = (node) =>
    node.kind === "call" && node.op === open?.name && node.domain === open?.module;
  const fits = atlas.nodes.flatMap((node, id) => (is(node) ? [id] : []));
  if (fits.length === 1) {
    return fits[0];
  }
  let found = null;
  for (const entry of stack.slice(1).reverse()) {
    const name = entry.state?.context && firstOutput(entry.state.context);
    found = insideOf(found).find((id) => atlas.nodes[id].locals?.[0] === name) ?? null;
  }
  return found ?? fits[0] ?? null;
}

function insideOf(id) {
  const children = id === null ? atlas.top : (atlas.nodes[id].children ?? []);
  return children.flatMap((child) =>
    atlas.nodes[child].kind === "group" ? insideOf(child) : [child],
  );
}

function prepare(graph) {
  const byOutput = new Map(insideOf(scope).map((id) => [atlas.nodes[id].locals?.[0], id]));
  members = new Map();
  for (const node of graph?.nodes ?? []) {
    lendRanges(node);
    const id = byOutput.get(firstOutput(node));
    if (id === undefined) {
      continue;
    }
    members.set(node, id);
    const role = atlas.nodes[id].role;
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

// Netron reads a whole file of weights for one tensor; we give it that tensor alone.
function lendRanges(node) {
  for (const argument of node.inputs ?? []) {
    for (const value of Array.isArray(argument.value) ? argument.value : []) {
      const tensor = value?.initializer;
      if (tensor?._request && !tensor._request.ranged) {
        const { offset, length } = tensor._request;
        tensor._request = {
          ranged: true,
          offset,
          length,
          location: new Range(tensor._location),
        };
      }
    }
  }
}

class Range {
  constructor(name) {
    this.file = atlas.locations.indexOf(name);
  }

  async read(offset, length) {
    if (this.file < 0 || length <= 0) {
      return null;
    }
    const headers = { Range: `bytes=${offset}-${offset + length - 1}` };
    const response = await fetch(`../data/${this.file}`, { headers });
    if (!response.ok) {
      return null;
    }
    const { BinaryStream } = await import(new URL("base.js", window.location.href).href);
    return new BinaryStream(new Uint8Array(await response.arrayBuffer()));
  }
}

function elementOf(node) {
  const drawn = view.target?._table?.get(node);
  return drawn?.element ?? document.getElementById(`node-name-${node.name}`);
}

function flows() {
  const named = new Map();
  const note = (names, ids) =>
    names?.forEach((name, at) => ids?.[at] >= 0 && named.set(name, ids[at]));
  if (scope === null) {
    atlas.inputs.forEach((id) => named.set(atlas.values[id][0], id));
  } else {
    note(atlas.nodes[scope].formals, atlas.nodes[scope].in);
  }
  insideOf(scope).forEach((id) => note(atlas.nodes[id].locals, atlas.nodes[id].out));
  return named;
}

function paint() {
  const nodes = lit && new Set(lit.nodes);
  const values = lit && new Set(lit.values);
  for (const [node, id] of members) {
    const element = elementOf(node);
    if (element) {
      const role = atlas.nodes[id].role;
      element.classList.add("atlas-node");
      element.dataset.role = role ?? "";
      element.classList.toggle("atlas-off", hidden.has(role));
      element.classList.toggle("atlas-lit", Boolean(nodes?.has(id)));
    }
  }
  const named = flows();
  for (const edge of document.querySelectorAll(".edge-path")) {
    const value = named.get(edge.id.replace(/^edge-/, ""));
    const flow = value === undefined ? "" : atlas.values[value][4];
    edge.dataset.flow = flow;
    edge.classList.toggle("atlas-lit", Boolean(values?.has(value)));
  }
  document.documentElement.classList.toggle("atlas-tracing", Boolean(lit));
}

const SMALLEST = 0.5;
const HOPELESS = 0.15;

// A graph that was not visited before is shown whole, as far as its text stays readable; beyond
// that its width is, so that nothing is cut off at the side.
function fit(state) {
  const canvas = document.getElementById("canvas");
  const host = document.getElementById("target");
  const box = canvas?.viewBox?.baseVal;
  if (state || !view.target || !box?.width || !("zoom" in view.target)) {
    return;
  }
  const wide = host.clientWidth / (box.width + 16);
  const scale = Math.min(wide, host.clientHeight / box.height);
  if (wide < HOPELESS) {
    return;
  }
  view.target.zoom = Math.min(1, Math.max(scale, Math.min(wide, SMALLEST)));
  host.scrollTo({
    left: (host.scrollWidth - host.clientWidth) / 2,
    top: 0,
    behavior: "instant",
  });
}

function settle() {
  const node = wanted && [...members].find(([, id]) => id === wanted.select)?.[0];
  wanted = null;
  const target = view.target;
  if (target && typeof target.select === "function") {
    const elements = target.select(node ? [node] : null);
    if (node && elements) {
      target.scrollTo(elements, "instant");
    }
  }
}

// Only the latest of several quick requests is carried out.
let busy = false;
let next = null;

async function queue(message) {
  next = message;
  if (busy) {
    return;
  }
  busy = true;
  while (next) {
    const current = next;
    next = null;
    await show(current);
  }
  busy = false;
}

async function show({ chain, select }) {
  wanted = { chain, select };
  const model = view?.model;
  if (!model || typeof view._updateTarget !== "function") {
    return;
  }
  await loaded;
  const stack = stackFor(model, chain);
  if (stack && stack[0].target !== view.activeTarget) {
    wanted = null;
    view._sidebar?.close?.();
    await view._updateTarget(model, stack);
    wanted = { chain, select };
  }
  settle();
  tell({ type: "shown" });
}

// Netron focuses its canvas whenever it draws; a reader who is elsewhere on the page stays there.
const focus = HTMLElement.prototype.focus;
HTMLElement.prototype.focus = function focusIfHere(...options) {
  if (document.hasFocus()) {
    focus.apply(this, options);
  }
};

document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !event.target.matches?.("input, textarea, select")) {
    event.preventDefault();
    tell({ type: "search" });
  }
});

const HEARD = {
  show: queue,
  style: (message) => {
    lit = message.lit;
    hidden = new Set(message.hidden);
    if (atlas && view?.target) {
      paint();
    }
  },
  fit: () => fit(null),
  theme: ({ dark }) => applyTheme(dark),
  figure: () => tell({ type: "figure", ...figure() }),
};

window.addEventListener("message", ({ origin, source, data }) => {
  if (origin === ORIGIN && source === window.parent && data?.to === "netron") {
    HEARD[data.type]?.(data);
  }
});

tell({ type: "hello" });
