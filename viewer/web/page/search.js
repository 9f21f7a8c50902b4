// Search over every level: a combobox, driven by the keyboard alone if one likes.

import { el, swap } from "./dom.js";
import { shapeText } from "./numbers.js";
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
  // What is found: {id} of a node, or {story} of an input.
  let found = [];
  let active = -1;
  const close = () => {
    results.hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };
  const choose = (at) => {
    if (found[at] !== undefined) {
      close();
      input.blur();
      const { id, story } = found[at];
      return story ? app.tellIn(app.index, story) : app.go(id);
    }
    return null;
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
    const nodes = app.atlas.search(input.value);
    found = [...inputsFor(app.atlas, input.value), ...nodes.map((id) => ({ id }))];
    const items = found.map((one, at) => {
      const { path, kind, role } = one.story ? one : described(app.atlas.nodes[one.id]);
      return el(
        "li",
        {
          role: "option",
          id: `result-${at}`,
          class: roleClass(role),
          "data-node": one.id,
          onmousedown: (event) => {
            event.preventDefault();
            choose(at);
          },
        },
        el("span", { class: "swatch", "aria-hidden": "true" }),
        el("span", { class: "result-path" }, path),
        el("span", { class: "result-kind" }, kind),
      );
    });
    const more =
      nodes.total > nodes.length
        ? el(
            "li",
            { class: "more", role: "presentation" },
            `and ${nodes.total - nodes.length} more`,
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
    mark(found.length > 0 ? 0 : -1);
  };
  input.addEventListener("input", update);
  input.addEventListener("focus", () => input.value && update());
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    const moves = { ArrowDown: 1, ArrowUp: -1 };
    if (event.key in moves && found.length > 0) {
      event.preventDefault();
      mark((active + moves[event.key] + found.length) % found.length);
    } else if (event.key === "Enter") {
      choose(Math.max(active, 0));
    } else if (event.key === "Escape") {
      close();
      input.blur();
    }
  });
  return el("div", { class: "search", role: "search" }, input, results);
}

function described(node) {
  const kind = [node.op, roleLabel(node.role)].filter(Boolean).join(" · ");
  return { path: node.path, kind, role: node.role };
}

const WORDS = {
  text: ["text", "prompt", "token", "tokens", "word", "caption", "encoder"],
  time: ["time", "timestep", "noise level", "sigma"],
  sample: ["image", "latent", "sample", "noise", "picture"],
};
const ROLES_OF = { text: "text", time: "time_embedding", sample: "conv_in" };

// Inputs and outputs by their names, and by the words people have for them.
function inputsFor(atlas, query) {
  const asked = query.trim().toLowerCase();
  if (asked.length < 2) {
    return [];
  }
  const flows = { image: "sample", text: "text", time: "time" };
  return [...atlas.inputs, ...atlas.outputs]
    .map((id) => [atlas.values[id], atlas.inputs.includes(id) ? "input" : "output"])
    .map(([value, end]) => [value, end, flows[value.flow] ?? "sample"])
    .filter(
      ([value, end, story]) =>
        value.name.toLowerCase().includes(asked) ||
        (end === "input" && WORDS[story].some((word) => word.startsWith(asked))),
    )
    .map(([value, end, story]) => ({
      story,
      path: value.name,
      kind: `${end} · ${shapeText(value.shape)} · follow it`,
      role: ROLES_OF[story],
    }));
}
