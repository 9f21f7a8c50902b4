// The map lit up by what was recorded at a step.

import { figures, Scale } from "../replay/heat.js";
import { ofModule } from "../replay/heatmap.js";

export const SHARES = "shares";
const PARTS = ["residual.share", "injection.share", "skip.share"];

// What the map can show: first everything that arrives somewhere, as its share, on one scale.
export function quantitiesOf(recording) {
  const shares = recording.quantities.filter((one) => PARTS.includes(one.name));
  const all =
    shares.length > 0
      ? [{ name: SHARES, title: "What arrives: skips, residuals, time (share)", shares }]
      : [];
  return [...all, ...recording.quantities].map((one) =>
    one.shares ? { ...one, scale: new Scale([0, 1]) } : one,
  );
}

// Colours the items of a drawn map; where nothing was recorded of one, it stays as it is.
export function lightMap(drawn, atlas, quantity, step, row) {
  drawn.classList.toggle("heated", quantity !== null);
  for (const item of drawn.querySelectorAll("[data-node]")) {
    const value = quantity === null ? null : valueOf(atlas, quantity, step, row, item);
    const known = value !== null && Number.isFinite(value);
    item.classList.toggle("hot", known);
    if (known) {
      item.style.setProperty("--heat", quantity.scale.css(value));
      item.style.setProperty("--heat-ink", quantity.scale.ink(value));
      item.dataset.value = figures(value);
    } else {
      delete item.dataset.value;
    }
  }
}

function valueOf(atlas, quantity, step, row, item) {
  for (const one of quantity.shares ?? [quantity]) {
    const value = valueIn(atlas, one, step, row, item);
    if (value !== null) {
      return value;
    }
  }
  return null;
}

function valueIn(atlas, quantity, step, row, item) {
  if (item.dataset.skip === undefined) {
    return ofModule(quantity, step, row, atlas.nodes[item.dataset.node]?.module);
  }
  if (quantity.list !== "skips") {
    return null;
  }
  const place = quantity.places.findIndex((one) => one.id === item.dataset.skip);
  return place < 0 ? null : quantity.at(step, row, place);
}
