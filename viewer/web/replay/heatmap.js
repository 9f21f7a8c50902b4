// The map coloured by a quantity at a step.

import { drawMap } from "../page/map.js";
import { figures } from "./heat.js";

export function heatMap(atlas, quantity, step, row, { module, pickPlace, hover }) {
  const drawn = drawMap(atlas, {
    numbers: false,
    pick: (id) => pickPlace(atlas.nodes[id].module),
    hover: (id) => hover(id === null ? null : text(atlas, quantity, step, row, id)),
  });
  drawn.classList.add("heated");
  for (const item of drawn.querySelectorAll("[data-node]")) {
    const value = valueOf(atlas, quantity, step, row, item);
    if (value !== null) {
      item.classList.add("hot");
      item.style.setProperty("--heat", quantity.scale.css(value));
      item.style.setProperty("--heat-ink", quantity.scale.ink(value));
      item.dataset.value = figures(value);
    }
    item.classList.toggle(
      "selected",
      module !== "" && atlas.nodes[item.dataset.node].module === module && !item.dataset.skip,
    );
    item.setAttribute("tabindex", "0");
    item.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        event.stopPropagation();
        item.dispatchEvent(new MouseEvent("click"));
      }
    });
  }
  return drawn;
}

// Of the place itself; else the mean over the places inside it. Null where nothing is known.
function valueOf(atlas, quantity, step, row, item) {
  if (item.dataset.skip !== undefined) {
    const place =
      quantity.list === "skips"
        ? quantity.places.findIndex((one) => one.id === item.dataset.skip)
        : -1;
    return place < 0 ? null : quantity.at(step, row, place);
  }
  return ofModule(quantity, step, row, atlas.nodes[item.dataset.node].module);
}

export function ofModule(quantity, step, row, module) {
  if (quantity.list === "skips" || !module) {
    return null;
  }
  const own = quantity.places.findIndex((one) => one.module === module);
  if (own >= 0) {
    return quantity.at(step, row, own);
  }
  const inside = quantity.places.flatMap((one, at) =>
    one.module.startsWith(`${module}.`) ? [quantity.at(step, row, at)] : [],
  );
  return inside.length > 0
    ? inside.reduce((sum, value) => sum + value, 0) / inside.length
    : null;
}

function text(atlas, quantity, step, row, id) {
  const { module } = atlas.nodes[id];
  const value = ofModule(quantity, step, row, module);
  return `${module}${value === null ? "" : `: ${figures(value)}`}`;
}
