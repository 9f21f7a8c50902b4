// Pick two values, or a preset, and read the way between them.

import { el } from "./dom.js";
import { plural } from "./numbers.js";
import { link, shapeOf } from "./nodes.js";
import { presets } from "./presets.js";
import { roleLabel } from "./roles.js";
import { doorsOf, firstDoor, stations } from "./stations.js";
import { nameOf, placeOf } from "./storyparts.js";
import { trace, valueNamed } from "./trace.js";

const SHOWN = 160;

export function traced(app) {
  const { from, to } = app.state.current;
  const [a, b] = [valueNamed(app.atlas, from), valueNamed(app.atlas, to)];
  if (a === null || b === null) {
    return null;
  }
  const first = (nodes) => firstDoor(app.atlas, a, nodes);
  return (
    straight(app.atlas, a, b) ??
    trace(app.atlas, a, b, first) ?? { none: true, from: a, to: b }
  );
}

// A skip is followed straight across; the long way down and up is not what was asked for.
function straight(atlas, from, to) {
  const skip = atlas.skips.find(
    (one) => one.value === from && atlas.nodes[one.sink].out[0] === to,
  );
  if (!skip) {
    return null;
  }
  const ends = new Set([atlas.values[from].producer, skip.sink]);
  return {
    from,
    to,
    skip,
    values: new Set([from, to]),
    nodes: ends,
    steps: [{ node: skip.sink, value: to }],
  };
}

export function tracePanel(app) {
  const { atlas, state } = app;
  const all = presets(atlas);
  const named = [
    ...new Set([...atlas.inputs, ...atlas.outputs].map((id) => atlas.values[id].name)),
  ];
  const list = el(
    "datalist",
    { id: "values" },
    [...named, ...atlas.nodes.map((node) => node.path)].map((value) =>
      el("option", { value }),
    ),
  );
  const field = (key, label) =>
    el(
      "label",
      {},
      label,
      el("input", {
        list: "values",
        value: shown(app, state.current[key]),
        spellcheck: "false",
        autocomplete: "off",
        "data-field": key,
        placeholder: "an input, an output or a node",
        onchange: (event) => state.set({ [key]: event.target.value.trim() }),
      }),
    );
  const here = app.focus === null ? null : atlas.nodes[app.focus];
  const selected =
    here && here.out.length > 0
      ? el(
          "p",
          { class: "here" },
          "Selected: ",
          link(app, here.id),
          el(
            "button",
            { type: "button", onclick: () => state.set({ from: here.path }) },
            "trace from here",
          ),
          el(
            "button",
            { type: "button", onclick: () => state.set({ to: here.path }) },
            "trace to here",
          ),
        )
      : null;
  return [
    el("h2", {}, "Trace"),
    el(
      "div",
      { class: "presets" },
      all.filter((one) => !one.skip).map((one) => preset(app, one)),
      el(
        "label",
        {},
        "skip ",
        el(
          "select",
          {
            "aria-label": "follow a skip",
            onchange: (event) => choose(app, all, event.target.value),
          },
          el("option", { value: "" }, "–"),
          all
            .filter((one) => one.skip)
            .map((one) =>
              el(
                "option",
                { value: one.skip, selected: one.from === state.current.from },
                one.skip,
              ),
            ),
        ),
      ),
    ),
    el(
      "form",
      { class: "trace-form", onsubmit: (event) => event.preventDefault() },
      field("from", "from"),
      field("to", "to"),
      el(
        "button",
        { type: "button", onclick: () => state.set({ from: "", to: "" }) },
        "clear",
      ),
      list,
    ),
    selected,
    result(app),
  ];
}

function shown(app, text) {
  const value = /^#\d+$/.test(text) ? app.atlas.values[Number(text.slice(1))] : null;
  return value
    ? value.producer === null
      ? value.name
      : app.atlas.nodes[value.producer].path
    : text;
}

function preset(app, one) {
  const on = app.state.current.from === one.from && app.state.current.to === one.to;
  return el(
    "button",
    {
      type: "button",
      "aria-pressed": String(on),
      onclick: () => app.state.set({ from: one.from, to: one.to }),
    },
    one.label,
  );
}

function choose(app, all, id) {
  const one = all.find((candidate) => candidate.skip === id);
  app.state.set(one ? { from: one.from, to: one.to } : { from: "", to: "" });
}

function result(app) {
  const { from, to } = app.state.current;
  const found = traced(app);
  if (found === null) {
    const unknown = [from, to].filter((text) => text && valueNamed(app.atlas, text) === null);
    return el(
      "p",
      { class: "empty" },
      unknown.length > 0
        ? `No value or node is called ${unknown.join(" or ")}.`
        : "Choose a question above, or two values. The path lights up on the map and in the graph.",
    );
  }
  const names = [found.from, found.to].map((id) => app.atlas.values[id].name);
  if (found.none) {
    return el("p", { class: "empty" }, `${names[1]} does not depend on ${names[0]}.`);
  }
  return el(
    "div",
    { class: "trace" },
    found.skip
      ? acrossIn(app, found.skip)
      : el(
          "p",
          {},
          `${plural(found.nodes.size, "operator")} lie between ${names[0]} and ${names[1]}. `,
          entering(app, found),
        ),
    el(
      "ol",
      { class: "steps" },
      el(
        "li",
        { class: "start" },
        el("code", {}, names[0]),
        el("code", { class: "shape" }, shapeOf(app, app.atlas.values[found.from].shape)),
      ),
      found.skip ? stepRows(app, found.steps) : stationRows(app, found),
    ),
  );
}

// Block by block: what enters there, and the steps of the way that lie in it.
function stationRows(app, found) {
  const { atlas } = app;
  return stations(atlas, found).map(({ block, doors, steps }) => [
    block === null
      ? null
      : el(
          "li",
          { class: "station" },
          link(app, block.nodes[0], nameOf(atlas, block)),
          el("span", { class: "where" }, placeOf(block)),
          el(
            "div",
            { class: "doors" },
            doors.map((id, at) =>
              link(app, id, at > 0 ? `${at + 1}` : `${roleLabel(atlas.nodes[id].role)} 1`),
            ),
          ),
        ),
    stepRows(app, steps),
  ]);
}

function stepRows(app, steps) {
  const { atlas } = app;
  const rows = steps
    .slice(0, SHOWN)
    .map(({ node, value }) =>
      el(
        "li",
        {},
        link(app, node, atlas.nodes[node].path),
        el("code", { class: "shape" }, shapeOf(app, atlas.values[value].shape)),
      ),
    );
  const more = steps.length - rows.length;
  return more > 0 ? [rows, el("li", {}, `and ${more} more`)] : rows;
}

function acrossIn(app, skip) {
  return el(
    "p",
    {},
    `Skip ${skip.id} leaves `,
    link(app, skip.source, app.atlas.nodes[skip.source].path),
    " and goes straight across to ",
    link(app, skip.sink, app.atlas.nodes[skip.sink].path),
    ", where it is concatenated to what comes up from below.",
  );
}

// Where a path that starts outside the image touches it, and which way is listed.
function entering(app, { from, nodes, steps }) {
  const { atlas } = app;
  const doors = doorsOf(atlas, from, nodes);
  if (doors.length === 0) {
    return `The shortest way has ${plural(steps.length, "step")}; every operator on it is lit.`;
  }
  return [
    `It enters the image in ${plural(doors.length, "place")}: `,
    doors.map((id, at) => [at > 0 ? " " : "", link(app, id, `${at + 1}`)]),
    `. Block by block, with the ${plural(steps.length, "step")} of the shortest way through the first of them:`,
  ];
}
