// Where Q, K and V of one attention come from, in shapes.

import { el } from "./dom.js";
import { attentionFigure } from "./figures.js";
import { link, shapeOf } from "./nodes.js";
import { capital, plural } from "./numbers.js";
import { doorOf, roleLabel } from "./roles.js";

// Q from the image, K and V from the text: for one attention, with the others a step away.
export function attentionPanel(app) {
  const { atlas } = app;
  const doors = atlas.attentions.filter((one) => doorOf(one.role));
  const all = doors.length > 0 ? doors : atlas.attentions;
  if (all.length === 0) {
    return [el("p", { class: "empty" }, "This file names no attention.")];
  }
  const chosen = chosenAttention(app, all);
  const one = all[chosen];
  const like = doors.filter((other) => doorOf(other.role) === doorOf(one.role));
  const call = atlas.nodes[one.call];
  const step = (by) => app.go(all[(chosen + by + all.length) % all.length].node);
  const [q, k, v] = one.operands.map((shape) => shapeOf(app, shape));
  const names = (list, fallback) => (list.length > 0 ? list.join(", ") : fallback);
  return [
    el(
      "div",
      { class: "panel-head" },
      el("h2", {}, `${capital(roleLabel(one.role))} ${chosen + 1} of ${all.length}`),
      el(
        "div",
        { class: "stepper" },
        el(
          "button",
          { type: "button", "aria-label": "previous attention", onclick: () => step(-1) },
          "‹",
        ),
        el(
          "button",
          { type: "button", "aria-label": "next attention", onclick: () => step(1) },
          "›",
        ),
      ),
    ),
    attentionFigure(app, one),
    el(
      "p",
      {},
      "In ",
      link(app, one.call, call.path),
      ", the queries ",
      el("code", {}, q),
      " come from ",
      producers(app, one, 0),
      ` (depends on ${names(one.sources[0], "the image")}); the keys `,
      el("code", {}, k),
      " from ",
      producers(app, one, 1),
      " and the values ",
      el("code", {}, v),
      " from ",
      producers(app, one, 2),
      ` (${names(one.sources[1], "not said")}).`,
    ),
    el(
      "p",
      {},
      link(app, one.node, "The attention itself"),
      ` has ${one.heads ?? "an unsaid number of"} heads`,
      one.head_dim
        ? ` of ${one.head_dim} channels each, ${one.heads * one.head_dim} in all`
        : "",
      ", and gives ",
      el("code", {}, shapeOf(app, one.out)),
      ": one row for every place in the image.",
    ),
    el(
      "p",
      {},
      `The ${one.role === "image_prompt" ? "reference image" : "text"} enters here and nowhere else: ${plural(like.length, "attention")} like this one, beside `,
      `${plural(atlas.attentions.length - doors.length, "self-attention")}.`,
    ),
    el(
      "div",
      { class: "node-list" },
      all.map((other, at) =>
        link(app, other.node, `${at + 1}  ${atlas.nodes[other.call].path}`),
      ),
    ),
  ];
}

function chosenAttention(app, all) {
  const { atlas } = app;
  const focus = app.focus;
  if (focus === null) {
    return 0;
  }
  const near = new Set(atlas.inside(focus));
  const found = all.findIndex(
    (one) =>
      near.has(one.node) || one.call === focus || atlas.ancestors(focus).includes(one.call),
  );
  return Math.max(found, 0);
}

function producers(app, one, at) {
  const value = app.atlas.values[app.atlas.nodes[one.node].in[at]];
  return value && value.producer !== null ? link(app, value.producer) : "the input";
}
