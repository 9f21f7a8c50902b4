// The parts of the page that stay: bar, columns, theme, keys.

import { el, recall, remember, swap } from "./dom.js";
import { look } from "./parity.js";
import { searchBox } from "./search.js";

// Lays the page out; returns its parts by name.
export function buildFrame(two) {
  const parts = {
    header: el("header", { class: "bar" }),
    note: el("div", { class: "missing", role: "note", hidden: true }),
    maps: el("div", { class: "maps" }),
    legend: el("div", { class: "legend", role: "group", "aria-label": "Legend" }),
    tabs: el("div", { class: "tabs", role: "tablist", "aria-label": "Panels" }),
    panel: el("section", { class: "panel", role: "tabpanel", id: "panel", tabindex: "0" }),
    crumbs: el("nav", { class: "crumbs", "aria-label": "Where you are" }),
    sides: el("div", { class: "sides", role: "group", "aria-label": "How to see the inside" }),
    graphs: el("div", { class: "graphs" }),
    outline: el("div", { class: "outline-host" }),
    tip: el("div", { class: "tip", role: "tooltip", hidden: true }),
    live: el("div", { class: "live", "aria-live": "polite" }),
    splitter: el("div", {
      class: "splitter",
      role: "separator",
      tabindex: "0",
      "aria-orientation": "vertical",
      "aria-label": "Width of the map",
      "aria-valuemin": 25,
      "aria-valuemax": 75,
    }),
  };
  const map = el("main", { class: "map-host", id: "map", tabindex: "-1" }, parts.maps);
  const left = el(
    "section",
    { class: "left", "aria-label": "Map and panels" },
    parts.note,
    map,
    parts.legend,
    parts.tabs,
    parts.panel,
  );
  const head = el("div", { class: "right-head" }, parts.crumbs, parts.sides);
  const right = el(
    "section",
    { class: "right", "aria-label": "Inside" },
    head,
    el("div", { class: "inside-host" }, parts.graphs, parts.outline),
  );
  const work = el("div", { class: "work" }, left, parts.splitter, right);
  document.getElementById("app").append(parts.header, work, parts.tip, parts.live);
  splitting(parts.splitter, two ? 68 : 56);
  return parts;
}

function splitting(splitter, start) {
  let at = 0;
  const split = (percent) => {
    at = Math.min(75, Math.max(25, percent));
    document.documentElement.style.setProperty("--left", `${at}%`);
    splitter.setAttribute("aria-valuenow", String(Math.round(at)));
  };
  const done = () => {
    remember("split", String(at));
    document.body.classList.remove("dragging");
  };
  split(Number(recall("split")) || start);
  splitter.addEventListener("pointerdown", (event) => {
    splitter.setPointerCapture(event.pointerId);
    document.body.classList.add("dragging");
  });
  splitter.addEventListener("pointermove", (event) => {
    if (splitter.hasPointerCapture(event.pointerId)) {
      split((100 * event.clientX) / window.innerWidth);
    }
  });
  splitter.addEventListener("pointerup", done);
  splitter.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -2, ArrowRight: 2 }[event.key];
    if (by) {
      event.preventDefault();
      split(at + by);
      done();
    }
  });
}

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
  parts.numbers = el(
    "button",
    {
      type: "button",
      class: "plain numbers",
      "aria-pressed": String(app.numbers),
      title: "Show shapes as numbers at the nominal size",
      onclick: () => app.toggleNumbers(),
    },
    `H = ${app.atlases[0].nominal.height}`,
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
    parts.numbers,
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
    el("small", {}, atlas.class || atlas.file),
  );
}

export function applyTheme(app, choice) {
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const known = ["auto", "light", "dark"].includes(choice) ? choice : "auto";
  app.parts.theme.value = known;
  remember("theme", known);
  app.dark = known === "dark" || (known === "auto" && system.matches);
  document.documentElement.dataset.theme = app.dark ? "dark" : "light";
  app.graphs.forEach((graph) => graph?.theme(app.dark));
  system.onchange = () => applyTheme(app, app.parts.theme.value);
}

// "/" searches, Backspace goes up.
export function listenToKeys(app) {
  document.addEventListener("keydown", (event) => {
    const { open, select } = app.state.current;
    if (
      event.target.matches?.("input, select, textarea") ||
      event.ctrlKey ||
      event.metaKey ||
      event.altKey
    ) {
      return;
    }
    if (event.key === "/") {
      event.preventDefault();
      document.getElementById("search").focus();
    } else if (event.key === "Backspace" && (open || select)) {
      event.preventDefault();
      app.state.set(
        select ? { select: "" } : { open: open.split("/").slice(0, -1).join("/") },
      );
    }
  });
}

export function drawCrumbs(app) {
  const { open, select } = app.state.current;
  const parts = [...open.split("/"), select].filter(Boolean);
  const crumb = (text, path, last) =>
    el(
      "li",
      {},
      last
        ? el("span", { "aria-current": "page" }, text)
        : el(
            "button",
            { type: "button", onclick: () => app.state.set({ open: path, select: "" }) },
            text,
          ),
    );
  swap(
    app.parts.crumbs,
    el(
      "ol",
      {},
      crumb(app.atlas.name, "", parts.length === 0),
      parts.map((text, at) =>
        crumb(text, parts.slice(0, at + 1).join("/"), at === parts.length - 1),
      ),
    ),
  );
}

export function drawTabs(app, names, now) {
  const host = app.parts.tabs;
  const focused = document.activeElement?.getAttribute("role") === "tab";
  const walk = (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (by) {
      const keys = Object.keys(names);
      app.state.set({ tab: keys[(keys.indexOf(now) + by + keys.length) % keys.length] });
    }
  };
  swap(
    host,
    Object.entries(names).map(([name, title]) =>
      el(
        "button",
        {
          type: "button",
          role: "tab",
          id: `tab-${name}`,
          "aria-controls": "panel",
          "aria-selected": String(name === now),
          tabindex: name === now ? "0" : "-1",
          onclick: () => app.state.set({ tab: name }),
          onkeydown: walk,
        },
        title,
      ),
    ),
  );
  if (focused) {
    host.querySelector("[aria-selected=true]").focus();
  }
  app.parts.panel.setAttribute("aria-labelledby", `tab-${now}`);
}
