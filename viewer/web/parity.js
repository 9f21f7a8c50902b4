// How far the file is from PyTorch: the exporter's verdict, and a report's error per module.

import { el } from "./dom.js";
import { small } from "./numbers.js";
import { link } from "./nodes.js";

// Module path to error, from whatever part of a report carries it.
export function moduleErrors(report) {
  const found = new Map();
  const lists = [report.blocks, report.modules, report.errors].filter(Boolean);
  for (const list of lists) {
    const entries = Array.isArray(list) ? list.map((one) => [one.module ?? one.name ?? one.path, one]) : Object.entries(list);
    for (const [module, one] of entries) {
      const error = typeof one === "number" ? one : (one.max_abs ?? one.error);
      if (typeof module === "string" && Number.isFinite(error)) {
        found.set(module, error);
      }
    }
  }
  return found;
}

// 0 for exact, 1 at the tolerance and beyond, in powers of ten from 1e-9.
export function severity(error, tolerance) {
  if (error <= 0) {
    return 0;
  }
  const [low, high] = [-9, Math.log10(tolerance || 1e-3)];
  return Math.min(1, Math.max(0.05, (Math.log10(error) - low) / (high - low)));
}

export function parityPanel(app) {
  const { atlas } = app;
  const { verdict, provider, atol, rtol, cases = [] } = atlas.parity;
  const errors = [...app.errors].sort((a, b) => b[1] - a[1]);
  return [
    el("h2", {}, "Parity with PyTorch"),
    verdict ? el("p", {}, el("strong", { class: `verdict ${verdict}` }, verdict), provider ? ` on ${provider}` : "",
      Number.isFinite(atol) ? `, atol ${small(atol)}, rtol ${small(rtol)}` : "") : el("p", { class: "empty" }, "The file carries no verdict."),
    cases.length > 0 ? el("table", { class: "shapes" },
      el("thead", {}, el("tr", {}, ["case", "max |difference|", "max relative"].map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, cases.map((one) => el("tr", {}, el("td", {}, one.name ?? ""), el("td", { class: "number" }, number(one.max_abs)), el("td", { class: "number" }, number(one.max_rel)))))) : null,
    errors.length > 0 ? [
      el("p", {}, "Error of each module, from the report; the map is tinted by it."),
      el("table", { class: "shapes" },
        el("thead", {}, el("tr", {}, ["module", "max |difference|"].map((name) => el("th", { scope: "col" }, name)))),
        el("tbody", {}, errors.map(([module, error]) => {
          const node = atlas.byModule.get(module);
          return el("tr", {}, el("td", {}, node ? link(app, node.id, module) : module), el("td", { class: "number" }, small(error)));
        }))),
    ] : el("p", { class: "empty" }, "No report with an error per block is beside the file (see --report)."),
  ];
}

function number(value) {
  return Number.isFinite(value) ? small(value) : "–";
}
