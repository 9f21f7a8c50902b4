// How far the file is from PyTorch: the exporter's verdict, and a report's error per module.

import { el, heads } from "./dom.js";
import { small } from "./numbers.js";
import { link } from "./nodes.js";

// Module path to error: from lists or mappings of modules, and from the first departure that
// python -m exporter.parity --locate found.
export function moduleErrors(report) {
  const lists = [report.blocks, report.modules, report.errors].flatMap((list) =>
    Object.entries(list ?? {}),
  );
  const pairs = lists.map(([key, one]) => [
    one?.module ?? one?.name ?? key,
    one?.max_abs ?? one?.error ?? one,
  ]);
  const finding = report.location?.finding;
  if (finding) {
    // What is not finite is written as null: beyond any tolerance.
    const after = finding.after ?? Number.MAX_VALUE;
    pairs.push([finding.block, after], [finding.module, after]);
  }
  return new Map(
    pairs.filter(
      ([module, error]) => module && typeof module === "string" && Number.isFinite(error),
    ),
  );
}

// 0 for exact, 1 at the tolerance and beyond, in powers of ten from 1e-9.
export function severity(error, tolerance) {
  if (error <= 0) {
    return 0;
  }
  const [low, high] = [-9, Math.log10(tolerance || 1e-3)];
  return Math.min(1, Math.max(0.05, (Math.log10(error) - low) / (high - low)));
}

function departure(app) {
  const finding = app.shown.report?.location?.finding;
  if (!finding) {
    return null;
  }
  const node =
    app.atlas.nodes.find((one) => one.name === finding.node) ??
    app.atlas.byModule.get(finding.module);
  return el(
    "p",
    { class: "departure" },
    "The first departure from PyTorch is in ",
    node ? link(app, node.id, node.path) : finding.module,
    ` (${finding.operator}): relative error ${number(finding.before)} before it, ${finding.after === null ? "nothing finite" : number(finding.after)} after it.`,
    (finding.evidence ?? []).map((sentence) =>
      el("span", { class: "evidence" }, ` ${sentence}`),
    ),
  );
}

// The colour of a verdict.
export function look({ word }) {
  const looks = { proven: "passed", claimed: "skipped", skipped: "skipped" };
  return looks[word] ?? "failed";
}

export function parityPanel(app) {
  const { atlas } = app;
  const checked = app.shown.report?.parity ?? atlas.parity;
  const standing = app.shown.report?.parity ? app.shown.standing : atlas.standing;
  const { provider, atol, rtol } = checked;
  const cases = (checked.cases ?? []).map((one) => ({ ...one, ...one.errors }));
  const errors = [...app.errors].sort((a, b) => b[1] - a[1]);
  return [
    el("h2", {}, "Parity with PyTorch"),
    standing.word
      ? el(
          "p",
          {},
          el("strong", { class: `verdict ${look(standing)}` }, standing.text),
          provider ? ` on ${provider}` : "",
          Number.isFinite(atol) ? `, atol ${small(atol)}, rtol ${small(rtol)}` : "",
        )
      : el("p", { class: "empty" }, "The file carries no verdict."),
    cases.length > 0
      ? el(
          "table",
          { class: "shapes" },
          heads(["case", "max |difference|", "times the noise floor"]),
          el(
            "tbody",
            {},
            cases.map((one) =>
              el(
                "tr",
                {},
                el("td", {}, one.name ?? ""),
                el("td", { class: "number" }, number(one.max_abs)),
                el(
                  "td",
                  { class: "number" },
                  times(one.floor_ratio ?? one.floor?.ratio ?? one.ratio),
                ),
              ),
            ),
          ),
        )
      : null,
    departure(app),
    errors.length > 0
      ? [
          el("p", {}, "Errors from the report; the map is tinted by them."),
          el(
            "table",
            { class: "shapes" },
            heads(["module", "max |difference|"]),
            el(
              "tbody",
              {},
              errors.map(([module, error]) => {
                const node = atlas.byModule.get(module);
                return el(
                  "tr",
                  {},
                  el("td", {}, node ? link(app, node.id, module) : module),
                  el("td", { class: "number" }, small(error)),
                );
              }),
            ),
          ),
        ]
      : el(
          "p",
          { class: "empty" },
          "No report that says where errors are is beside the file (see --report).",
        ),
  ];
}

function number(value) {
  return Number.isFinite(value) ? small(value) : "–";
}

function times(value) {
  return Number.isFinite(value) ? `${Number(value.toPrecision(2))}×` : "–";
}
