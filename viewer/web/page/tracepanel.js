// Pick two values, or a preset, and read the way between them.

import { el } from "./dom.js";
import { plural } from "./numbers.js";
import { link, shapeOf } from "./nodes.js";
import { trace, valueNamed } from "./trace.js";

const SHOWN = 160;

// The presets that this graph allows: [label, from, to, through].
export function presets(atlas) {
  const flow = (name) => atlas.inputs.find((id) => atlas.values[id].flow === name);
  const output = atlas.outputs[0];
  const found = [];
  const [time, text] = [flow("time"), flow("text")];
  const name = (id) => atlas.values[id]?.name;
  if (time !== undefined && output !== undefined) {
    found.push({
      label: `How does ${name(time)} reach ${name(output)}?`,
      from: name(time),
      to: name(output),
    });
  }
  const crossing = atlas.attentions.find((one) => one.role !== "self_attention");
  if (text !== undefined && crossing) {
    found.push({ label: "Where does the text enter?", from: name(text), to: name(output) });
  }
  for (const skip of atlas.skips) {
    if (skip.value !== null) {
      found.push({
        label: `Follow skip ${skip.id}`,
        from: `#${skip.value}`,
        to: `#${atlas.nodes[skip.sink].out[0]}`,
        skip: skip.id,
      });
    }
  }
  return found;
}

export function traced(app) {
  const { from, to } = app.state.current;
  const [a, b] = [valueNamed(app.atlas, from), valueNamed(app.atlas, to)];
  if (a === null || b === null) {
    return null;
  }
  return straight(app.atlas, a, b) ?? trace(app.atlas, a, b) ?? { none: true, from: a, to: b };
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
          `${plural(found.nodes.size, "operator")} lie between ${names[0]} and ${names[1]}. The shortest way has ${plural(found.steps.length, "step")}; `,
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
      found.steps
        .slice(0, SHOWN)
        .map((step) =>
          el(
            "li",
            {},
            link(app, step.node, app.atlas.nodes[step.node].path),
            el("code", { class: "shape" }, shapeOf(app, app.atlas.values[step.value].shape)),
          ),
        ),
    ),
    found.steps.length > SHOWN ? el("p", {}, `and ${found.steps.length - SHOWN} more.`) : null,
  );
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

// Where a path that starts outside the image first touches it.
function entering(app, found) {
  const { atlas } = app;
  const doors = [
    ...atlas.injections.flatMap((one) => one.nodes.slice(-1)),
    ...atlas.attentions.filter((one) => one.role !== "self_attention").map((one) => one.node),
  ].filter((id) => found.nodes.has(id));
  const flow = atlas.values[found.from].flow;
  const fits = doors.filter((id) =>
    flow === "text"
      ? atlas.nodes[id].role !== "time_injection"
      : atlas.nodes[id].role === "time_injection",
  );
  if (fits.length === 0 || (flow !== "text" && flow !== "time")) {
    return "every operator on it is lit.";
  }
  return [
    `it enters the image in ${plural(fits.length, "place")}: `,
    fits.map((id, at) => [at > 0 ? " " : "", link(app, id, `${at + 1}`)]),
  ];
}
