// The parts of the page that stay: columns, tabs, crumbs, keys.

import { el, swap } from "./dom.js";
import { splitting } from "./splitter.js";

// Lays the page out; returns its parts by name.
export function buildFrame(two) {
  const parts = {
    header: el("header", { class: "bar" }),
    note: el("div", { class: "missing", role: "note", hidden: true }),
    sizes: el("div", { class: "sizes", role: "group", "aria-label": "Size" }),
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
  const viewSide = el(
    "div",
    { class: "view-side" },
    parts.note,
    parts.sizes,
    map,
    parts.legend,
  );
  const left = el(
    "section",
    { class: "left", "aria-label": "Map and panels" },
    viewSide,
    el("div", { class: "answer-side" }, parts.tabs, parts.panel),
  );
  const head = el("div", { class: "right-head" }, parts.crumbs, parts.sides);
  parts.right = el(
    "section",
    { class: "right", "aria-label": "Inside" },
    head,
    el("div", { class: "inside-host" }, parts.graphs, parts.outline),
  );
  parts.work = el("div", { class: "work folded" }, left, parts.splitter, parts.right);
  document.getElementById("app").append(parts.header, parts.work, parts.tip, parts.live);
  splitting(parts.splitter, two ? 68 : 56);
  return parts;
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

// Folded, the inside keeps its place behind the map: Netron cannot lay out what has no size.
export function drawFold(app) {
  const { work, right, fold, splitter } = app.parts;
  // A run needs the room itself.
  const folded = app.folded || app.state.current.tab === "sample";
  work.classList.toggle("folded", folded);
  right.inert = folded;
  splitter.hidden = folded;
  fold.hidden = app.state.current.tab === "sample";
  fold.setAttribute("aria-pressed", String(!app.folded));
  fold.textContent = app.folded ? "Show graph" : "Hide graph";
  if (!app.folded && app.wasFolded !== false) {
    app.graphs.each((graph) => graph.fit());
  }
  app.wasFolded = app.folded;
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
