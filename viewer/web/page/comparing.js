// What differs between two models, side by side; every row leads to the node in its model.

import { el, heads } from "./dom.js";
import { movedModules } from "./moved.js";
import { compact, flopsBound, percent, plural } from "./numbers.js";
import { roleClass } from "./roles.js";

const STATUS = { only_a: "only in A", only_b: "only in B", changed: "changed" };

// The file's name; with its folder when both have one name.
export function labelOf(app, index) {
  const [a, b] = app.atlases;
  return b && a.file === b.file
    ? (app.shown.models[index]?.label ?? a.file)
    : app.atlases[index].file;
}

// For one model, the status of every node that differs, or holds one that does.
export function marks(comparison, side) {
  const found = new Map();
  for (const [path, one] of Object.entries(comparison?.nodes ?? {})) {
    if (one.status === (side === 0 ? "only_b" : "only_a")) {
      continue;
    }
    const parts = path.split("/");
    for (let depth = 1; depth <= parts.length; depth += 1) {
      found.set(parts.slice(0, depth).join("/"), "changed");
    }
    found.set(path, one.status);
  }
  return found;
}

export function comparePanel(app) {
  const { comparison, atlases } = app;
  if (!comparison) {
    return [el("p", { class: "empty" }, "Comparing…")];
  }
  const paths = Object.keys(comparison.nodes);
  const tops = paths.filter(
    (path) =>
      !paths.includes(path.split("/").slice(0, -1).join("/")) ||
      comparison.nodes[path].status === "changed",
  );
  const { params, flops } = comparison.totals;
  const total = (name, values, text) =>
    el(
      "tr",
      {},
      el("th", { scope: "row" }, name),
      values.map((value, at) => el("td", { class: "number" }, text(value, at))),
    );
  return [
    el("h2", {}, "Compare"),
    el(
      "p",
      {},
      paths.length === 0
        ? "Both have the same modules, operators and shapes."
        : `${plural(paths.length, "node")} ${paths.length === 1 ? "differs" : "differ"} and ${comparison.same} are the same. On the maps, a dashed red line holds a difference, a solid one is in this file alone.`,
    ),
    el(
      "table",
      { class: "shapes" },
      el(
        "thead",
        {},
        el(
          "tr",
          {},
          el("td"),
          atlases.map((_, at) =>
            el("th", { scope: "col" }, `${"AB"[at]}  ${labelOf(app, at)}`),
          ),
        ),
      ),
      el(
        "tbody",
        {},
        total("parameters", params, (value) => compact(value)),
        total("a step", flops, (value, at) => flopsBound(value, atlases[at].uncounted)),
        Object.entries(comparison.config).map(([key, values]) =>
          el(
            "tr",
            {},
            el("th", { scope: "row" }, key),
            values.map((value) => el("td", {}, brief(value))),
          ),
        ),
        Object.entries(comparison.operators).map(([op, values]) =>
          el(
            "tr",
            {},
            el("th", { scope: "row" }, op),
            values.map((value) => el("td", { class: "number" }, `${value}`)),
          ),
        ),
      ),
    ),
    weightsPart(app),
    tops.length > 0
      ? el(
          "table",
          { class: "shapes differences" },
          heads(["node", "A", "B"]),
          el(
            "tbody",
            {},
            tops.slice(0, 300).map((path) => difference(app, path)),
          ),
        )
      : null,
  ];
}

function difference(app, path) {
  const one = app.comparison.nodes[path];
  const facts = Object.entries(one.facts ?? {});
  const cell = (side) => {
    const node = app.atlases[side].byPath.get(path);
    if (!node) {
      return el("td", {}, "–");
    }
    return el(
      "td",
      {},
      el(
        "button",
        {
          type: "button",
          class: `node-link ${roleClass(node.role)}`,
          onclick: () => app.goIn(side, node.id),
        },
        el("span", { class: "swatch", "aria-hidden": "true" }),
        node.op,
      ),
      facts.flatMap(([name, values]) =>
        differing(name, values).map(([key, pair]) =>
          el("div", { class: "fact" }, `${key} `, el("code", {}, brief(pair[side]))),
        ),
      ),
    );
  };
  return el(
    "tr",
    { class: one.status, "data-path": path },
    el("th", { scope: "row" }, path, el("span", { class: "status" }, STATUS[one.status])),
    cell(0),
    cell(1),
  );
}

// Of a list or a mapping, only what differs in it.
function differing(name, [a, b]) {
  const held = (one) => one !== null && typeof one === "object";
  const alike = Array.isArray(a)
    ? Array.isArray(b) && a.length === b.length
    : !Array.isArray(b);
  if (!held(a) || !held(b) || !alike) {
    return [[name, [a, b]]];
  }
  return [...new Set([...Object.keys(a), ...Object.keys(b)])]
    .filter((key) => JSON.stringify(a[key]) !== JSON.stringify(b[key]))
    .map((key) => [Array.isArray(a) ? `${name} ${Number(key) + 1}` : key, [a[key], b[key]]]);
}

function brief(value) {
  const text = typeof value === "string" ? value : JSON.stringify(value ?? null);
  return text.length > 44 ? `${text.slice(0, 43)}…` : text;
}

function weightsPart(app) {
  if (app.weights) {
    const { different, equal, unreadable } = app.weights;
    const moved = movedModules(app.atlas, app.weights);
    const text =
      different.length === 0
        ? `All ${equal} weights with a place in both are equal, by SHA-256.`
        : `${plural(different.length, "weight")} ${different.length === 1 ? "differs" : "differ"} and ${equal} are equal, by SHA-256. All together they moved by ${percent(moved.get(null)?.share)} of their norm; the map is tinted by it.`;
    return el(
      "div",
      { class: "weights" },
      el("p", {}, text),
      different.length > 0 ? movedTable(app) : null,
      unreadable.length > 0
        ? el(
            "p",
            { class: "empty" },
            `${plural(unreadable.length, "weight")} could not be read: ${unreadable[0][1]}`,
          )
        : null,
    );
  }
  return app.offline
    ? null
    : el(
        "p",
        {},
        el(
          "button",
          {
            type: "button",
            class: "compare-weights",
            disabled: app.weighing,
            onclick: () => app.compareWeights(),
          },
          app.weighing ? "Reading both files…" : "Compare the weights too",
        ),
      );
}

// The weights that moved, the furthest first: by how much of their norm, and the number in them
// that changed most.
function movedTable(app) {
  const rows = app.weights.moved
    .filter((one) => one.different)
    .map((one) => ({ ...one, share: one.norm > 0 ? one.change / one.norm : Infinity }))
    .sort((a, b) => (b.change === null ? -1 : b.share) - (a.change === null ? -1 : a.share))
    .slice(0, 200);
  const digits = (value) => (Number.isFinite(value) ? value.toPrecision(4) : "not finite");
  return el(
    "div",
    { class: "table-host" },
    el(
      "table",
      { class: "shapes moved" },
      heads(["weight", "moved", "norm of the change", "changed most", "A", "B"]),
      el(
        "tbody",
        {},
        rows.map((one) =>
          el(
            "tr",
            {},
            el(
              "td",
              {},
              el(
                "button",
                {
                  type: "button",
                  class: "node-link role-none",
                  onclick: () => app.goIn(app.index, app.atlas.byPath.get(one.path).id),
                },
                one.name,
              ),
            ),
            one.change === null
              ? [el("td", {}, "bytes differ"), el("td"), el("td"), el("td"), el("td")]
              : [
                  el("td", { class: "number" }, percent(one.share)),
                  el("td", { class: "number" }, digits(one.change)),
                  el("td", {}, el("code", {}, `[${one.largest[0].join(", ")}]`)),
                  el("td", { class: "number" }, digits(one.largest[1])),
                  el("td", { class: "number" }, digits(one.largest[2])),
                ],
          ),
        ),
      ),
    ),
  );
}
