// A node as a button, and what is known about it: shared by every panel.

import { el } from "./dom.js";
import { markdown } from "./markdown.js";
import { compact, flopsBound, flopsShare, shapeText, share } from "./numbers.js";
import { roleClass, roleLabel } from "./roles.js";

// Every sentence is backed by nodes one can click: this is that click.
export function link(app, id, text = null) {
  const node = app.atlas.nodes[id];
  const button = el(
    "button",
    {
      type: "button",
      class: `node-link ${roleClass(node.role)}`,
      title: node.path,
      onclick: () => app.go(id),
    },
    el("span", { class: "swatch", "aria-hidden": "true" }),
    text ?? app.atlas.segment(id),
  );
  button.dataset.node = id;
  return button;
}

export function shapeOf(app, shape) {
  return shapeText(shape, app.numbers ? app.atlas.nominal : null);
}

function row(name, ...content) {
  return el("div", { class: "row" }, el("dt", {}, name), el("dd", {}, ...content));
}

function values(app, ids, weights) {
  const list = ids
    .filter((id) => id >= 0)
    .map((id) => {
      const value = app.atlas.values[id];
      return el(
        "li",
        {},
        el("span", { class: `flow-${value.flow} value` }, value.name || "–"),
        " ",
        el("code", {}, shapeOf(app, value.shape)),
      );
    });
  const carried = (weights ?? []).map(([name, shape, dtype]) =>
    el(
      "li",
      {},
      el("span", { class: "value weight" }, name),
      " ",
      el("code", {}, `${shapeOf(app, shape)} ${dtype.toLowerCase()}`),
    ),
  );
  return el("ul", { class: "values" }, list, carried);
}

function place(node) {
  return [node.side, node.level === undefined ? "" : `level ${node.level}`]
    .filter(Boolean)
    .join(", ");
}

function costs(app, id) {
  const { atlas } = app;
  const node = atlas.nodes[id];
  return [
    node.params > 0 &&
      row("Parameters", `${compact(node.params)} (${share(node.params, atlas.params)})`),
    node.flops > 0 &&
      row(
        "FLOPs",
        `${flopsBound(node.flops, node.uncounted)} (${flopsShare(node.flops, atlas)})`,
      ),
  ];
}

// Everything the file says about a node.
export function about(app, id) {
  const { atlas } = app;
  const node = atlas.nodes[id];
  const attributes = Object.entries(node.attributes).map(
    ([name, value]) => `${name} ${Array.isArray(value) ? value.join("×") : value}`,
  );
  const code = (name, text) => text && row(name, el("code", {}, text));
  return [
    el("h2", {}, atlas.segment(id)),
    el(
      "dl",
      { class: "facts" },
      node.role &&
        row(
          "Role",
          el("span", { class: `role-tag ${roleClass(node.role)}` }, roleLabel(node.role)),
        ),
      row(
        node.kind === "op" ? "Operator" : "Function",
        `${node.op}${node.kind === "group" ? " (modules grouped here)" : ""}`,
      ),
      code("Class", node.class),
      code("Module", node.module),
      place(node) && row("Place", place(node)),
      row("In", values(app, node.in, node.weights)),
      row("Out", values(app, node.out)),
      attributes.length > 0 && row("Attributes", attributes.join(", ")),
      costs(app, id),
      code("Source", node.source),
    ),
    node.doc ? el("div", { class: "doc" }, markdown(node.doc)) : null,
  ];
}
