// The map, or two of them side by side, alive: selection, trace, differences, errors, a tooltip.

import { el, swap } from "./dom.js";
import { labelOf, marks } from "./comparing.js";
import { drawMap } from "./map.js";
import { movedModules } from "./moved.js";
import { importanceOf, lossOf } from "./importance.js";
import { hasU, noU } from "./nou.js";
import { shapeOf } from "./nodes.js";
import { compact, flopsShare, known, percent, share } from "./numbers.js";
import { severity } from "./parity.js";
import { roleLabel } from "./roles.js";
import { drawStage } from "./stage.js";
import { heatOf } from "./timing.js";

export function drawMaps(app) {
  const host = app.parts.maps;
  const kept = document.activeElement?.closest?.(".map .item")?.dataset;
  app.mapWidth = host.clientWidth;
  const room = (host.clientWidth || 1000) - 8 * (app.atlases.length - 1);
  const width = Math.max(340, Math.min(1080, Math.floor(room / app.atlases.length)));
  swap(
    host,
    app.atlases.map((atlas, index) => oneMap(app, index, width)),
  );
  if (kept) {
    const place = kept.story
      ? `[data-story="${CSS.escape(kept.story)}"]`
      : `[data-node="${kept.node}"]`;
    host.querySelector(place)?.focus({ preventScroll: true });
  }
}

function oneMap(app, index, width) {
  const atlas = app.atlases[index];
  const mine = index === app.index;
  const title =
    app.atlases.length > 1
      ? el("h2", { class: "map-title" }, el("b", {}, "AB"[index]), ` ${labelOf(app, index)}`)
      : null;
  const box = (...inside) =>
    el("div", { class: `map-box${mine ? " current" : ""}` }, title, ...inside);
  if (!hasU(atlas)) {
    return box(noU(app, index));
  }
  const drawn = drawMap(atlas, {
    width,
    numbers: app.numbers,
    pick: (id, item) => app.sampling.take(index, item) || app.goIn(index, id),
    tell: (story, item) => app.sampling.take(index, item) || app.tellIn(index, story),
    hover: (id, element) => tip(app, index, id, element),
  });
  const differing = marks(app.comparison, index);
  const moved = app.weights ? movedModules(atlas, app.weights) : null;
  for (const item of drawn.querySelectorAll("[data-node], [data-within], [data-sink]")) {
    mark(app, atlas, item, { differing, moved, mine });
  }
  if (mine && app.lit) {
    light(app.lit, drawn);
  }
  app.sampling.paint(drawn, index);
  rove(drawn);
  return box(drawStage(app, index), drawn);
}

function mark(app, atlas, item, { differing, moved, mine }) {
  const { node: own, within, sink } = item.dataset;
  const node = atlas.nodes[own ?? within ?? sink];
  const around = mine && app.focus !== null ? [app.focus, ...atlas.ancestors(app.focus)] : [];
  item.classList.toggle("selected", around.includes(node.id));
  item.classList.toggle(
    "off",
    app.hidden.has(item.matches(".skip") ? "skip" : roleOf(item, node)),
  );
  const status = differing.get(node.path);
  if (status) {
    item.dataset.differs = status;
  }
  const tint = tinted(app, atlas, node, moved);
  if (tint && !item.matches(".skip")) {
    item.dataset[tint.name] = tint.value;
    item.style.setProperty("--severity", tint.severity.toFixed(3));
  }
}

// A tile stands for a module whose own role may be a wider one.
function roleOf(item, node) {
  const [, shown] = /role-(\w+)/.exec(item.getAttribute("class")) ?? [];
  return item.matches(".part") ? shown : node.role;
}

// What colours a box: errors of the report, else how far weights moved, else what the image
// loses without it, else measured time.
function tinted(app, atlas, node, moved) {
  const error = app.errors.get(node.module);
  if (error !== undefined) {
    return { name: "error", value: error, severity: severity(error, atlas.parity.atol) };
  }
  const shift = moved?.get(node.id);
  if (shift) {
    const most = Math.max(
      ...atlas.blocks.map((one) => moved.get(one.nodes[0])?.share ?? 0),
      1e-12,
    );
    return { name: "moved", value: shift.share, severity: Math.min(1, shift.share / most) };
  }
  const heat = importanceOf(app, node) ?? heatOf(app, atlas, node);
  return heat === null ? null : { name: "heat", value: heat, severity: heat };
}

function light(lit, drawn) {
  drawn.classList.add("tracing");
  const each = (places, fits, name = "lit") =>
    drawn
      .querySelectorAll(places)
      .forEach((one) => one.classList.toggle(name, Boolean(fits(one.dataset, one))));
  const id = ({ node, within }) => Number(node ?? within);
  each("[data-node], [data-within]", (data) => lit.nodes.has(id(data)));
  each("[data-node], [data-within]", (data) => lit.now?.has(id(data)), "now");
  each("[data-skip]", ({ skip }) => lit.skips.has(skip));
  each(".pill", ({ story }) => lit.buses.has(story) || lit.inputs?.has(story));
  each("[data-level]", ({ level }) => level === `${lit.level}`);
  each(".bus, .tap", ({ block }, line) => {
    const kind = ["time", "prompt"].find((one) => line.classList.contains(one)) ?? "text";
    return lit.buses.has(kind) && (block === undefined || lit.taps.has(`${kind} ${block}`));
  });
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
  swap(host, skip ? skipTip(app, lens, skip) : nodeTip(app, lens, atlas.nodes[id]));
  const box = element.getBoundingClientRect();
  host.style.left = `${Math.max(8, Math.min(box.left, window.innerWidth - host.offsetWidth - 8))}px`;
  const below = box.bottom + 8 + host.offsetHeight < window.innerHeight;
  host.style.top = `${below ? box.bottom + 8 : Math.max(8, box.top - host.offsetHeight - 8)}px`;
}

function skipTip(app, lens, skip) {
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
    lossTip(app.shown.importance?.skips[skip.id]),
  ];
}

function lossTip(loss) {
  return Number.isFinite(loss)
    ? el("p", {}, `without it the image changes by ${percent(loss)}`)
    : null;
}

function nodeTip(app, lens, node) {
  const { atlas } = lens;
  const error = app.errors.get(node.module);
  const shift = app.weights ? movedModules(atlas, app.weights).get(node.id) : undefined;
  const time = app.shown.profile?.inclusive?.[node.module];
  return [
    el("strong", {}, node.path),
    el("p", {}, [roleLabel(node.role), atlas.className(node)].filter(Boolean).join(" · ")),
    el("p", {}, el("code", {}, shapeOf(lens, atlas.outShape(node.id)))),
    el(
      "p",
      {},
      `${known(node.params, atlas.weighed, compact)} parameters (${share(node.params, atlas.params)}), ${flopsShare(node.flops, atlas)}`,
    ),
    lossTip(lossOf(app, node)),
    Number.isFinite(time) && node.module
      ? el("p", {}, `${(time / 1000).toPrecision(3)} ms measured`)
      : null,
    shift ? el("p", {}, `weights moved by ${percent(shift.share)} of their norm`) : null,
    error === undefined ? null : el("p", {}, `max |difference| ${error.toExponential(1)}`),
  ];
}
