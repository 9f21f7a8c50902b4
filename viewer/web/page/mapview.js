// The map, or two of them side by side, alive: selection, trace, differences, errors, a tooltip.

import { el, swap } from "./dom.js";
import { marks } from "./comparing.js";
import { blockOf } from "./layout.js";
import { drawMap } from "./map.js";
import { shapeOf } from "./nodes.js";
import { compact, share } from "./numbers.js";
import { severity } from "./parity.js";
import { roleLabel } from "./roles.js";
import { drawStage } from "./stage.js";

export function drawMaps(app) {
  const host = app.parts.maps;
  const keep = document.activeElement?.closest?.(".map [data-node]")?.dataset.node;
  swap(
    host,
    app.atlases.map((_, index) => oneMap(app, index)),
  );
  if (keep !== undefined) {
    host.querySelector(`[data-node="${keep}"]`)?.focus({ preventScroll: true });
  }
}

function oneMap(app, index) {
  const atlas = app.atlases[index];
  const drawn = drawMap(atlas, {
    numbers: app.numbers,
    pick: (id, item) => app.sampling.take(index, id, item) || app.goIn(index, id),
    hover: (id, element) => tip(app, index, id, element),
  });
  const mine = index === app.index;
  const differing = marks(app.comparison, index);
  for (const item of drawn.querySelectorAll("[data-node]")) {
    mark(app, atlas, item, differing, mine);
  }
  if (mine && app.lit) {
    light(app, drawn, atlas);
  }
  app.sampling.paint(drawn, index);
  rove(drawn);
  const title =
    app.atlases.length > 1
      ? el("h2", { class: "map-title" }, el("b", {}, "AB"[index]), ` ${atlas.file}`)
      : null;
  const stage = drawStage(app, index);
  return el("div", { class: `map-box${mine ? " current" : ""}` }, title, stage, drawn);
}

function mark(app, atlas, item, differing, mine) {
  const node = atlas.nodes[item.dataset.node];
  const here =
    mine &&
    app.focus !== null &&
    (node.id === app.focus || atlas.ancestors(app.focus).includes(node.id));
  item.classList.toggle("selected", here);
  item.classList.toggle("off", app.hidden.has(item.matches(".skip") ? "skip" : node.role));
  const status = differing.get(node.path);
  if (status) {
    item.dataset.differs = status;
  }
  const error = app.errors.get(node.module);
  if (error !== undefined) {
    item.dataset.error = error;
    item.style.setProperty("--severity", severity(error, atlas.parity.atol).toFixed(3));
  }
}

function light(app, drawn, atlas) {
  const { nodes, values } = app.lit;
  drawn.classList.add("tracing");
  for (const item of drawn.querySelectorAll("[data-node]:not(.skip)")) {
    item.classList.toggle("lit", nodes.has(Number(item.dataset.node)));
  }
  for (const skip of atlas.skips) {
    const lit = skip.value !== null && values.has(skip.value) && nodes.has(skip.sink);
    drawn.querySelector(`[data-skip="${CSS.escape(skip.id)}"]`)?.classList.toggle("lit", lit);
  }
  const doors = [
    ...atlas.injections.flatMap((one) => one.nodes),
    ...atlas.attentions.map((one) => one.node),
  ];
  const entered = new Set(doors.filter((id) => nodes.has(id)).map((id) => blockOf(atlas, id)));
  const flows = new Set([...values].map((id) => atlas.values[id].flow));
  for (const line of drawn.querySelectorAll(".bus, .tap")) {
    const kind = line.classList.contains("time") ? "time" : "text";
    const reached =
      line.dataset.block === undefined || entered.has(Number(line.dataset.block));
    line.classList.toggle("lit", flows.has(kind) && reached);
  }
}

// One tab stop for the whole map; arrows walk over it.
function rove(drawn) {
  const items = [...drawn.querySelectorAll(".item")];
  const first = items.findLast((item) => item.classList.contains("selected")) ?? items[0];
  first?.setAttribute("tabindex", "0");
  drawn.addEventListener("keydown", (event) => {
    const at = items.indexOf(document.activeElement);
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (by && at >= 0) {
      event.preventDefault();
      items.forEach((item) => item.setAttribute("tabindex", "-1"));
      const next = items[(at + by + items.length) % items.length];
      next.setAttribute("tabindex", "0");
      next.focus();
    } else if ((event.key === "Enter" || event.key === " ") && at >= 0) {
      event.preventDefault();
      items[at].dispatchEvent(new MouseEvent("click", { bubbles: true }));
    }
  });
}

function tip(app, index, id, element) {
  const host = app.parts.tip;
  host.hidden = id === null;
  if (id === null) {
    return;
  }
  const atlas = app.atlases[index];
  const lens = { atlas, numbers: app.numbers };
  const skip = atlas.skips.find((one) => one.id === element.dataset.skip);
  swap(host, skip ? skipTip(lens, skip) : nodeTip(lens, atlas.nodes[id], app.errors));
  const box = element.getBoundingClientRect();
  host.style.left = `${Math.max(8, Math.min(box.left, window.innerWidth - host.offsetWidth - 8))}px`;
  const below = box.bottom + 8 + host.offsetHeight < window.innerHeight;
  host.style.top = `${below ? box.bottom + 8 : Math.max(8, box.top - host.offsetHeight - 8)}px`;
}

function skipTip(lens, skip) {
  const { nodes } = lens.atlas;
  return [
    el("strong", {}, `skip ${skip.id}`),
    el("p", {}, `${nodes[skip.source].path} → ${nodes[skip.sink].path}`),
    el(
      "p",
      {},
      el("code", {}, shapeOf(lens, skip.shape)),
      " is concatenated to what comes up from below.",
    ),
  ];
}

function nodeTip(lens, node, errors) {
  const { atlas } = lens;
  const error = errors.get(node.module);
  return [
    el("strong", {}, node.path),
    el("p", {}, [roleLabel(node.role), atlas.className(node)].filter(Boolean).join(" · ")),
    el("p", {}, el("code", {}, shapeOf(lens, atlas.outShape(node.id)))),
    el(
      "p",
      {},
      `${compact(node.params)} parameters (${share(node.params, atlas.params)}), ${share(node.flops ?? 0, atlas.flops)} of the FLOPs`,
    ),
    error === undefined ? null : el("p", {}, `max |difference| ${error.toExponential(1)}`),
  ];
}
