// The bar on top: what is shown, its verdict, search, export, theme.

import { labelOf } from "./comparing.js";
import { el, recall, remember, swap } from "./dom.js";
import { look } from "./parity.js";
import { searchBox } from "./search.js";

const EXPORTS = [
  ["map-svg", "Map as SVG"],
  ["map-png", "Map as PNG"],
  ["figure-svg", "Panel figure as SVG"],
  ["figure-png", "Panel figure as PNG"],
];
const SERVED_EXPORTS = [
  ["graph-svg", "Graph as SVG"],
  ["graph-png", "Graph as PNG"],
  ["page-html", "Offline page (HTML)"],
];

// The bar: what is shown, search, how numbers are written, export, theme.
export function fillBar(app) {
  const { parts, state } = app;
  const choices = (pairs) => pairs.map(([value, name]) => el("option", { value }, name));
  const { standing } = app.atlases[0];
  parts.theme = el(
    "select",
    { "aria-label": "Colours", onchange: (event) => applyTheme(app, event.target.value) },
    choices([
      ["auto", "System"],
      ["light", "Light"],
      ["dark", "Dark"],
    ]),
  );
  parts.fold = el(
    "button",
    {
      type: "button",
      class: "plain fold",
      title: "What is inside: Netron's graph, or the outline",
      onclick: () => app.unfold(!app.folded),
    },
    "Graph",
  );
  const menu = el(
    "select",
    { class: "export", "aria-label": "Export", onchange: () => app.exportAs(menu) },
    choices([["", "Export"], ...EXPORTS, ...(app.offline ? [] : SERVED_EXPORTS)]),
  );
  swap(
    parts.header,
    el(
      "button",
      {
        type: "button",
        class: "brand",
        title: "To the whole UNet",
        onclick: () => state.set({ open: "", select: "" }),
      },
      el("span", { class: "logo", "aria-hidden": "true" }),
      el("span", {}, "UNet Atlas"),
    ),
    el(
      "div",
      { class: "models" },
      app.atlases.map((one, at) => model(app, one, at)),
    ),
    standing.word
      ? el(
          "button",
          {
            type: "button",
            class: `verdict ${look(standing)}`,
            title: `Parity with PyTorch: ${standing.text}`,
            onclick: () => state.set({ tab: "parity" }),
          },
          `parity ${standing.word}`,
        )
      : null,
    app.atlases.some((one) => one.weights_note)
      ? el(
          "span",
          { class: "verdict skipped", title: "Nothing was trained" },
          "random weights",
        )
      : null,
    searchBox(app),
    app.shown.recording && !app.offline
      ? el("a", { class: "plain", href: "/recording" }, "Recording")
      : null,
    parts.fold,
    menu,
    parts.theme,
  );
  const missing = app.atlases.flatMap((one) => one.missing);
  parts.note.hidden = missing.length === 0;
  swap(
    parts.note,
    el(
      "details",
      {},
      el(
        "summary",
        {},
        `${missing.length} thing${missing.length === 1 ? "" : "s"} that this file does not say`,
      ),
      el(
        "ul",
        {},
        missing.map((text) => el("li", {}, text)),
      ),
    ),
  );
  applyTheme(app, recall("theme") ?? "auto");
}

function model(app, atlas, at) {
  const pick = () => app.state.set({ model: String(at), open: "", select: "" });
  return el(
    "button",
    { type: "button", class: "model", onclick: pick },
    app.atlases.length > 1 ? el("b", {}, "AB"[at]) : null,
    atlas.name,
    el("small", {}, (sameName(app) ? labelOf(app, at) : atlas.class) || atlas.file),
  );
}

function sameName(app) {
  return app.atlases.length > 1 && app.atlases[0].name === app.atlases[1].name;
}

export function applyTheme(app, choice) {
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const known = ["auto", "light", "dark"].includes(choice) ? choice : "auto";
  app.parts.theme.value = known;
  remember("theme", known);
  app.dark = known === "dark" || (known === "auto" && system.matches);
  document.documentElement.dataset.theme = app.dark ? "dark" : "light";
  app.graphs.each((graph) => graph.theme(app.dark));
  system.onchange = () => applyTheme(app, app.parts.theme.value);
}
