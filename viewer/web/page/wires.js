// What runs between the boxes of the map: the image down and up, time and text around the U.

import { fitted, interactive } from "./boxes.js";
import { svg } from "./dom.js";
import { shapeText } from "./numbers.js";
import { doorOf } from "./roles.js";

// How far below the U a line runs, below the top of a box it enters, and beside the middle's
// centre.
const LOW = { time: 4, text: 18, prompt: 11 };
const HEIGHTS = { time: 20, text: 40, prompt: 60 };
const BESIDE = { time: -40, text: 40, prompt: 0 };

// Boxes that the image does not pass on its way.
const BESIDE_U = new Set(["time", "text", "image_prompt", "control_image", "zero"]);

export function inputOf(atlas, kind) {
  const all = atlas.inputs
    .map((id) => atlas.values[id])
    .filter((value) => value.flow === kind);
  return all.find((value) => value.name.startsWith("timestep")) ?? all[0];
}

// Boxes that the time or the text enters.
export function entered(atlas, plan, kind) {
  return atlas.blocks
    .map((block, index) => [block, plan.boxes.get(index)])
    .filter(([block, box]) => {
      const takes = (part) =>
        kind === "time" ? part.injects : part.attentions.some((role) => doorOf(role) === kind);
      return box && block.parts.some(takes);
    });
}

// Time, text and reference image, each one line around the U with a tap at every block that
// takes it. Where there is no room for the third, tiles alone tell of it.
export function buses(atlas, plan) {
  const group = svg("g", { class: "buses" });
  for (const kind of ["time", "text", "prompt"]) {
    const taps = entered(atlas, plan, kind);
    const from = plan.inputs[kind];
    if (taps.length === 0 || !from) {
      continue;
    }
    const x = plan.size[kind];
    const low = plan.low + LOW[kind];
    group.append(
      svg("path", {
        class: `bus ${kind}`,
        d: `${begun(kind, x, from)}${line(kind, x, taps, low, plan)}`,
      }),
    );
    for (const [block, box] of taps) {
      group.append(
        svg("path", {
          class: `tap ${kind}`,
          d: tap(kind, x, block, box, low, plan),
          "marker-end": `url(#head-${kind})`,
          "data-block": atlas.blocks.indexOf(block),
        }),
      );
    }
  }
  return group;
}

const height = (kind) => HEIGHTS[kind];
const under = (kind, box) => box.x + box.width / 2 + BESIDE[kind];

// From the input to the left side; the reference image's stands to the right of the text's.
function begun(kind, x, from) {
  const y = from.y + from.height;
  return kind === "prompt" ? `M${from.x + 24} ${y}v2.5H${x}` : `M${x} ${y}`;
}

// Down the left side as far as it is needed, then under the U, then up the right side.
function line(kind, x, taps, low, plan) {
  const heights = (side) =>
    taps.filter(([block]) => block.kind === side).map(([, box]) => box.y + height(kind));
  const rise = heights("up");
  const [mid] = taps.filter(([block]) => block.kind === "mid");
  if (rise.length > 0) {
    return `V${low}H${plan.width - x}V${Math.min(...rise)}`;
  }
  if (mid) {
    return `V${low}H${under(kind, mid[1])}`;
  }
  return `V${Math.max(...heights("down"))}`;
}

function tap(kind, x, block, box, low, plan) {
  if (block.kind === "mid") {
    return `M${under(kind, box)} ${low}V${box.y + box.height + 1}`;
  }
  const y = box.y + height(kind);
  return block.kind === "up"
    ? `M${plan.width - x} ${y}H${box.x + box.width + 1}`
    : `M${x} ${y}H${box.x - 1}`;
}

// The image: in at the top left, down, across the middle, up and out.
export function flow(atlas, plan) {
  const group = svg("g", { class: "flow", "aria-hidden": "true" });
  const order = atlas.blocks
    .map((block, index) => [block, plan.boxes.get(index)])
    .filter(([block, box]) => box && !BESIDE_U.has(block.kind));
  const draw = (d) =>
    group.append(svg("path", { class: "wire", d, "marker-end": "url(#head-image)" }));
  for (let at = 1; at < order.length; at += 1) {
    draw(wire(order[at - 1][1], order[at][1], order[at][0].kind, plan));
  }
  const [first, last] = [order[0]?.[1], order.at(-1)?.[1]];
  const { sample, out } = plan.inputs;
  if (first && atlas.inputs.length > 0) {
    draw(between(sample, first));
  }
  handed(atlas, plan, order).forEach(draw);
  if (last && atlas.outputs.length === 1) {
    draw(between(last, out));
  }
  group.append(...entering(atlas, plan));
  return group;
}

// From an input to the box that makes something of it.
function entering(atlas, plan) {
  const made = { time: "time", prompt: "image_prompt", control: "control_image" };
  return Object.entries(made).flatMap(([kind, name]) => {
    const from = plan.inputs[kind];
    const box = plan.boxes.get(atlas.blocks.findIndex((block) => block.kind === name));
    if (!from || !box) {
      return [];
    }
    const d = `M${from.x + from.width} ${from.y + from.height / 2}H${box.x - 1}`;
    return svg("path", { class: `tap ${kind}`, d, "marker-end": `url(#head-${kind})` });
  });
}

// From the blocks of one level, and from the middle, to the zero convolutions of that level.
function handed(atlas, plan, order) {
  const zero = atlas.blocks
    .map((block, index) => [block, plan.boxes.get(index)])
    .filter(([block, box]) => box && block.kind === "zero");
  return zero.flatMap(([block, box]) =>
    order
      .filter(([one, from]) =>
        one.kind === "mid" ? one.level === block.level : from.row === box.row,
      )
      .map(([one, from]) => handedOn(one, from, box)),
  );
}

function handedOn(block, from, box) {
  const [x, y] = [from.x + from.width, from.y + from.height / 2];
  if (block.kind === "mid") {
    return `M${x} ${y}H${box.x + box.width / 2}V${box.y + box.height + 1}`;
  }
  const middle = box.y + box.height / 2;
  return `M${x} ${y}C${x + 60} ${y} ${box.x - 60} ${middle} ${box.x - 1} ${middle}`;
}

// Beside one another, else one above the other.
function between(a, b) {
  const middle = (box) => box.y + box.height / 2;
  if (a.x + a.width <= b.x && Math.abs(middle(a) - middle(b)) < 20) {
    return `M${a.x + a.width} ${middle(a)}H${b.x - 1}`;
  }
  const x = (Math.max(a.x, b.x) + Math.min(a.x + a.width, b.x + b.width)) / 2;
  return a.y < b.y
    ? `M${x} ${a.y + a.height}V${b.y - 1}`
    : `M${x} ${a.y}V${b.y + b.height + 1}`;
}

function wire(a, b, kind, plan) {
  const middle = (box) => box.x + box.width / 2;
  const [x, to] = [middle(a), middle(b)];
  const over = (px, box) => px > box.x && px < box.x + box.width;
  const end = b.y + b.height;
  if (kind === "mid" && !over(x, b)) {
    return `M${x} ${a.y + a.height}C${x} ${b.y + 38} ${x} ${b.y + 38} ${b.x - 1} ${b.y + 38}`;
  }
  if (kind === "up" && a.row > b.row && !over(to, a) && a.x < plan.width / 2) {
    return `M${a.x + a.width} ${a.y + 38}C${to} ${a.y + 38} ${to} ${a.y + 38} ${to} ${end + 1}`;
  }
  if (b.y > a.y) {
    const into = kind === "mid" ? x : to;
    return `M${x} ${a.y + a.height}C${x} ${a.y + a.height + 18} ${into} ${b.y - 18} ${into} ${b.y - 1}`;
  }
  const start = over(to, a) && a.width > b.width ? to : x;
  return `M${start} ${a.y}C${start} ${a.y - 18} ${to} ${end + 18} ${to} ${end + 1}`;
}

// The graph's inputs and its output, by what they are and by name: each begins a story.
export function inputs(atlas, plan, options) {
  const group = svg("g", { class: "inputs" });
  const draw = (kind, word, value, story) => {
    const box = plan.inputs[kind];
    if (!value || !box) {
      return;
    }
    const shape = shapeText(value.shape, options.numbers ? atlas.nominal : null);
    const pill = svg("g", {
      class: `pill ${story}`,
      transform: `translate(${box.x} ${box.y})`,
    });
    interactive(pill, story, `${word}: ${value.name} ${shape}; follow it`, options);
    const text =
      kind !== "sample" && kind !== "out" ? `${word}: ${value.name} ${shape}` : value.name;
    const short = plan.size.narrow && kind === "time" ? `${value.name} ${shape}` : text;
    pill.append(
      svg("rect", { width: box.width, height: box.height, rx: 14 }),
      svg(
        "text",
        { x: box.width / 2, y: box.height / 2 + 4, "text-anchor": "middle" },
        fitted(short, box.width - 8, 12.5),
      ),
    );
    group.append(pill);
  };
  draw("text", "text", inputOf(atlas, "text"), "text");
  draw("prompt", "reference", inputOf(atlas, "prompt"), "prompt");
  if (atlas.blocks.some((block) => block.kind === "control_image")) {
    draw("control", "control", inputOf(atlas, "control"), "control");
  }
  draw("time", "time", inputOf(atlas, "time"), "time");
  draw("sample", "image", inputOf(atlas, "image"), "sample");
  if (atlas.outputs.length === 1) {
    draw("out", "prediction", atlas.values[atlas.outputs[0]], "sample");
  }
  return group;
}
