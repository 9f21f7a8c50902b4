// Search over every level: a combobox, driven by the keyboard alone if one likes.

import { el, swap } from "./dom.js";
import { roleClass, roleLabel } from "./roles.js";

export function searchBox(app) {
  const results = el("ul", {
    id: "results",
    class: "results",
    role: "listbox",
    "aria-label": "Search results",
    hidden: true,
  });
  const input = el("input", {
    type: "search",
    id: "search",
    role: "combobox",
    "aria-expanded": "false",
    "aria-controls": "results",
    "aria-autocomplete": "list",
    "aria-label": "Search all levels by name, role, class or operator",
    placeholder: "Search name, role, class, operator   ( / )",
    autocomplete: "off",
    spellcheck: "false",
  });
  let ids = [];
  let active = -1;
  const close = () => {
    results.hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };
  const choose = (at) => {
    if (ids[at] !== undefined) {
      close();
      input.blur();
      app.go(ids[at]);
    }
  };
  const mark = (at) => {
    active = at;
    [...results.children].forEach((item, index) =>
      item.setAttribute("aria-selected", String(index === at)),
    );
    results.children[at]?.scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-activedescendant", `result-${at}`);
  };
  const update = () => {
    const found = app.atlas.search(input.value);
    ids = [...found];
    const items = ids.map((id, at) => {
      const node = app.atlas.nodes[id];
      return el(
        "li",
        {
          role: "option",
          id: `result-${at}`,
          class: roleClass(node.role),
          "data-node": id,
          onmousedown: (event) => {
            event.preventDefault();
            choose(at);
          },
        },
        el("span", { class: "swatch", "aria-hidden": "true" }),
        el("span", { class: "result-path" }, node.path),
        el(
          "span",
          { class: "result-kind" },
          [node.op, roleLabel(node.role)].filter(Boolean).join(" · "),
        ),
      );
    });
    const more =
      found.total > ids.length
        ? el(
            "li",
            { class: "more", role: "presentation" },
            `and ${found.total - ids.length} more`,
          )
        : null;
    swap(
      results,
      items.length > 0
        ? items
        : el(
            "li",
            { class: "more", role: "presentation" },
            "Nothing has that name, role, class or operator.",
          ),
      more,
    );
    results.hidden = input.value.trim() === "";
    input.setAttribute("aria-expanded", String(!results.hidden));
    mark(ids.length > 0 ? 0 : -1);
  };
  input.addEventListener("input", update);
  input.addEventListener("focus", () => input.value && update());
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    const moves = { ArrowDown: 1, ArrowUp: -1 };
    if (event.key in moves && ids.length > 0) {
      event.preventDefault();
      mark((active + moves[event.key] + ids.length) % ids.length);
    } else if (event.key === "Enter") {
      choose(Math.max(active, 0));
    } else if (event.key === "Escape") {
      close();
      input.blur();
    }
  });
  return el("div", { class: "search", role: "search" }, input, results);
}
