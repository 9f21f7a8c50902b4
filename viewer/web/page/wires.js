// What runs between the boxes of the map: the image down and up, time and text around the U.

import { fitted, interactive } from "./boxes.js";
import { svg } from "./dom.js";
import { shapeText } from "./numbers.js";

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
        kind === "time"
          ? part.injects
          : part.attentions.some((role) => role !== "self_attention");
      return box && block.parts.some(takes);
    });
}

// Time and text, each one line around the U with a tap at every block that takes it.
export function buses(atlas, plan) {
  const group = svg("g", { class: "buses" });
  for (const kind of ["time", "text"]) {
    const taps = entered(atlas, plan, kind);
    if (taps.length === 0) {
      continue;
    }
    const from = plan.inputs[kind];
    const x = plan.size[kind];
    const low = plan.low + (kind === "time" ? 4 : 18);
    group.append(
      svg("path", {
        class: `bus ${kind}`,
        d: line(kind, x, from.y + from.height, taps, low, plan),
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

const height = (kind) => (kind === "time" ? 20 : 40);
const under = (kind, box) => box.x + box.width / 2 + (kind === "time" ? -40 : 40);

// Down the left side as far as it is needed, then under the U, then up the right side.
function line(kind, x, y, taps, low, plan) {
  const heights = (side) =>
    taps.filter(([block]) => block.kind === side).map(([, box]) => box.y + height(kind));
  const rise = heights("up");
  const [mid] = taps.filter(([block]) => block.kind === "mid");
  if (rise.length > 0) {
    return `M${x} ${y}V${low}H${plan.width - x}V${Math.min(...rise)}`;
  }
  if (mid) {
    return `M${x} ${y}V${low}H${under(kind, mid[1])}`;
  }
  return `M${x} ${y}V${Math.max(...heights("down"))}`;
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
    .filter(([block, box]) => box && block.kind !== "time" && block.kind !== "text");
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
  if (last && atlas.outputs.length > 0) {
    draw(between(last, out));
  }
  const time = plan.boxes.get(atlas.blocks.findIndex((block) => block.kind === "time"));
  if (time) {
    const { x, y, width, height: tall } = plan.inputs.time;
    const d = `M${x + width} ${y + tall / 2}H${time.x - 1}`;
    group.append(svg("path", { class: "tap time", d, "marker-end": "url(#head-time)" }));
  }
  return group;
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
    if (!value) {
      return;
    }
    const box = plan.inputs[kind];
    const shape = shapeText(value.shape, options.numbers ? atlas.nominal : null);
    const pill = svg("g", {
      class: `pill ${story}`,
      transform: `translate(${box.x} ${box.y})`,
    });
    interactive(pill, story, `${word}: ${value.name} ${shape}; follow it`, options);
    const text =
      kind === "text" || kind === "time" ? `${word}: ${value.name} ${shape}` : value.name;
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
  draw("time", "time", inputOf(atlas, "time"), "time");
  draw("sample", "image", inputOf(atlas, "image"), "sample");
  draw("out", "prediction", atlas.values[atlas.outputs[0]], "sample");
  return group;
}
