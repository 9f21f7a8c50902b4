// The boxes of the map: blocks with their tiles, and the small ones around the U.

import { svg } from "./dom.js";
import { textWidth } from "./labels.js";
import { compact, flopsShare, flopsWord, known, shapeText, share } from "./numbers.js";
import { roleClass, roleLabel } from "./roles.js";
import { LINE } from "./layout.js";

// The shortest bar beside the text of what a block costs.
const BAR = 20;

// Makes something of the map answer to mouse, touch and keyboard. `place` is a node's number, or
// the name of a story.
export function interactive(group, place, label, options) {
  const told = typeof place === "string";
  if (told && !options.tell) {
    return group;
  }
  group.setAttribute("tabindex", "-1");
  group.setAttribute("role", "button");
  group.setAttribute("aria-label", label);
  group.dataset[told ? "story" : "node"] = place;
  group.classList.add("item");
  group.addEventListener("click", (event) => {
    event.stopPropagation();
    (told ? options.tell : options.pick)(place, group);
  });
  if (!told) {
    group.addEventListener("mouseenter", () => options.hover(place, group));
    group.addEventListener("focus", () => options.hover(place, group));
    group.addEventListener("mouseleave", () => options.hover(null));
    group.addEventListener("blur", () => options.hover(null));
  }
  return group;
}

export function fitted(text, room, font = 13) {
  const most = Math.floor(room / (font * 0.6));
  return text.length > most ? `${text.slice(0, Math.max(most - 1, 1))}…` : text;
}

export function drawBlock(atlas, block, box, { narrow, alive }, options) {
  const node = atlas.nodes[block.nodes[0]];
  const name = block.kind === "zero" ? "zero convolutions" : atlas.inU(node.path);
  const level =
    block.level === null || block.level === undefined ? "" : `level ${block.level}, `;
  const label = `${name}, ${level}${shapeText(block.work)}, ${cost(block, atlas).join(", ")}`;
  const group = svg("g", {
    class: `block side-${block.kind}`,
    transform: `translate(${box.x} ${box.y})`,
    "data-block": atlas.blocks.indexOf(block),
  });
  interactive(group, node.id, label, options);
  const shape = shapeWithin(atlas, block, name, narrow ? Infinity : box.width, options);
  const at = narrow ? { x: 10, y: 35 } : { x: box.width - 12, y: 20, "text-anchor": "end" };
  group.append(
    svg("rect", { class: "card", width: box.width, height: box.height, rx: 10 }),
    svg(
      "text",
      { class: "name", x: 10, y: 20 },
      narrow
        ? fitted(name, box.width - 14, 12.5)
        : fitted(name, box.width - 26 - textWidth(shape, 12), 13.5),
    ),
    svg("text", { class: "shape", ...at }, shape),
  );
  const head = narrow ? 42 : 28;
  for (const placed of box.tiles) {
    group.append(drawTile(atlas, placed, head, alive, options));
  }
  group.append(footer(atlas, block, box, narrow));
  return group;
}

// The shape that a block works at; only its channels where name and shape do not fit the width.
function shapeWithin(atlas, block, name, width, { numbers }) {
  const [, channels, ...size] = block.work ?? [];
  if (channels === undefined) {
    return "";
  }
  const by = width === Infinity ? "×" : " × ";
  const long = `${channels}${by}${shapeText(size, numbers ? atlas.nominal : null)}`;
  return textWidth(name, 14.2) + textWidth(long, 12) + 34 < width ? long : `${channels} ch.`;
}

function cost(block, atlas) {
  return [
    `${known(block.params, block.weighed, compact)} parameters`,
    block.uncounted ? "FLOPs not all known" : flopsShare(block.flops, atlas),
  ];
}

// What it costs: as text, and as a bar of the measured time or the FLOPs.
function footer(atlas, block, box, narrow) {
  const part = block.flops / Math.max(...atlas.blocks.map((other) => other.flops), 1);
  const params = `${known(block.params, block.weighed, compact)} parameters`;
  const flops = `${share(block.flops, atlas.flops)} ${flopsWord(atlas)}`;
  const y = box.height - 9;
  if (narrow) {
    return svg(
      "g",
      {},
      svg("text", { class: "cost", x: 10, y: y - 16 }, params.replace("parameters", "params")),
      svg("text", { class: "cost", x: 10, y }, flops),
    );
  }
  const long = `${params} · ${flops}`;
  const fits = textWidth(long, 12) + 34 + BAR <= box.width;
  const text = fits ? long : `${params.replace(" parameters", "")} · ${flops}`;
  const room = Math.max(BAR, Math.min(80, box.width - 34 - textWidth(text, 12)));
  return svg(
    "g",
    {},
    svg("rect", { class: "track", x: 10, y: y - 7, width: room, height: 6, rx: 3 }),
    svg("rect", {
      class: "fill",
      x: 10,
      y: y - 7,
      width: Math.max(2, room * part),
      height: 6,
      rx: 3,
    }),
    svg("text", { class: "cost", x: box.width - 12, y, "text-anchor": "end" }, text),
  );
}

// On a phone a tile is too small to be hit: there the box is.
function drawTile(atlas, { tile, x, line, width }, head, alive, options) {
  const node = atlas.nodes[tile.node];
  const group = svg("g", {
    class: `part ${roleClass(tile.role)}${tile.note ? " odd" : ""}`,
    transform: `translate(${10 + x} ${head + LINE * line})`,
  });
  if (alive) {
    const label = `${node.path}: ${roleLabel(tile.role)}${tile.places.length > 1 ? `, ${tile.places.length} attentions` : ""}`;
    interactive(group, node.id, label, options);
  } else {
    group.dataset.within = node.id;
  }
  group.append(
    svg("rect", { class: "chip", width, height: 20, rx: 6 }),
    svg("text", { class: "word", x: width / 2, y: 14.5, "text-anchor": "middle" }, tile.word),
  );
  if (tile.injects) {
    group.append(svg("circle", { class: "drop time", cx: width - 3, cy: 2, r: 4 }));
  }
  if (tile.door) {
    group.append(
      svg("rect", { class: `drop ${tile.door}`, x: width - 8, y: -2, width: 8, height: 8 }),
    );
  }
  return group;
}

const SMALL = {
  time: "time embedding",
  text: "text",
  image_prompt: "image prompt",
  control_image: "control image",
  conv_in: "first conv",
  conv_out: "last conv",
};

export function drawSmall(atlas, block, box, _, options) {
  const node = atlas.nodes[block.nodes[0]];
  const role = { time: "time_embedding" }[block.kind] ?? block.kind;
  const label = `${SMALL[block.kind]}, ${shapeText(block.shape)}, ${compact(block.params)} parameters`;
  const group = svg("g", {
    class: `block small ${roleClass(role)}`,
    transform: `translate(${box.x} ${box.y})`,
    "data-block": atlas.blocks.indexOf(block),
  });
  interactive(group, node.id, label, options);
  const shape = shapeText(block.shape, options.numbers ? atlas.nominal : null);
  const long = `${shape} · ${compact(block.params)}`;
  const text = textWidth(long, 12) < box.width - 24 ? long : shape;
  group.append(
    svg("rect", { class: "card", width: box.width, height: box.height, rx: 9 }),
    svg("rect", { class: "mark", width: 5, height: box.height - 16, x: 7, y: 8, rx: 2.5 }),
    svg("text", { class: "name", x: 19, y: 17 }, SMALL[block.kind]),
    svg("text", { class: "cost", x: 19, y: 33 }, text),
  );
  return group;
}
