// Who looks at which word: tokens to the right, layers downwards, one heat map each.

import { el } from "../page/dom.js";
import { short } from "./recording.js";
import { figures, paintNumbers, Scale } from "./heat.js";

const MOST = 12;

// Resolves to the table; each map is scaled by itself, so that its shape shows.
export async function attentionGrid(recording, step, row, { module, pickPlace }) {
  const tokens = recording.shownTokens(row, MOST);
  const found = await Promise.all(
    recording.maps.map((layer) => recording.mapsOf(layer, step, row, tokens.length)),
  );
  const head = el(
    "tr",
    {},
    el("th", { scope: "col" }, "layer"),
    tokens.map((token) =>
      el("th", { scope: "col", title: token }, token.replace(/^<\|(.*)\|>$/, "‹$1›")),
    ),
  );
  const lines = recording.maps.map((layer, at) =>
    line(layer, found[at], tokens, module, pickPlace),
  );
  return el("table", { class: "grid" }, el("thead", {}, head), el("tbody", {}, lines));
}

function line(layer, { numbers, height, width }, tokens, module, pickPlace) {
  const name = short(layer.module).replace(/ attn2$/, "");
  const inside =
    module !== "" && (layer.module === module || layer.module.startsWith(`${module}.`));
  const cells = tokens.map((token, at) => {
    const part = numbers.subarray(at * height * width, (at + 1) * height * width);
    const scale = new Scale(part);
    const label = `${token}, ${name}, ${height} × ${width}: ${figures(scale.low)} to ${figures(scale.high)}`;
    const canvas = paintNumbers(
      el("canvas", { role: "img", "aria-label": label, title: label }),
      width,
      height,
      part,
      scale,
    );
    return el("td", {}, canvas);
  });
  return el(
    "tr",
    { class: inside ? "current" : "" },
    el(
      "th",
      { scope: "row" },
      el(
        "button",
        { type: "button", title: layer.module, onclick: () => pickPlace(layer.module) },
        name,
      ),
      el("small", {}, `${height} × ${width}`),
    ),
    cells,
  );
}
