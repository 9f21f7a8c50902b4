// Runs inside Netron's page, which we serve unmodified but for this script and a stylesheet.
// It colours what Netron draws, follows the selection, and reads weights by range. When a
// hook that it needs is missing it leaves Netron alone and says so to the page around it.

import { now } from "./now.js";
import { paint, prepare } from "./paint.js";
import { fit, settle } from "./pane.js";
import { scopeOf, stackFor } from "./stack.js";
import { applyTheme, figure } from "./style.js";

const ORIGIN = window.location.origin;
const NEEDED = ["render", "_updateTarget", "pushTarget", "showNodeProperties"];

// The page around us has asked for the same payload: it is parsed once.
const [, index] = /\/m\/(\d+)\//.exec(window.location.pathname);
const asked =
  window.parent.atlasPayloads?.[index] ??
  fetch("../atlas.json").then((response) => response.json());
const loaded = asked.then((data) => {
  now.atlas = data;
});

function tell(message) {
  window.parent.postMessage({ from: "netron", ...message }, ORIGIN);
}

Object.defineProperty(window, "__view__", {
  configurable: true,
  get: () => now.view,
  set: (value) => {
    now.view = value;
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
    now.scope = scopeOf(target._path ?? []);
    prepare(graph);
    const status = await render(graph, ...rest);
    if (status === "") {
      paint();
      fit(target._path?.[0]?.state);
      tell({ type: "opened", scope: now.scope });
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
    if (now.wanted && model && path.length === 1 && path[0].target === model.modules[0]) {
      const stack = stackFor(model, now.wanted.chain);
      const result = await update(model, stack ?? path);
      settle();
      tell({ type: "shown" });
      return result;
    }
    return update(model, path);
  });
  around("showNodeProperties", (properties) => (node, ...rest) => {
    const id = now.members.get(node);
    if (id !== undefined) {
      tell({ type: "selected", id });
    }
    return properties(node, ...rest);
  });
  around("pushTarget", (push) => (graph, context) => {
    now.wanted = null;
    return push(graph, context);
  });
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
  now.wanted = { chain, select };
  const model = now.view?.model;
  if (!model || typeof now.view._updateTarget !== "function") {
    return;
  }
  await loaded;
  const stack = stackFor(model, chain);
  if (stack && stack[0].target !== now.view.activeTarget) {
    now.wanted = null;
    now.view._sidebar?.close?.();
    await now.view._updateTarget(model, stack);
    now.wanted = { chain, select };
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
    now.lit = message.lit;
    now.hidden = new Set(message.hidden);
    if (now.atlas && now.view?.target) {
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
