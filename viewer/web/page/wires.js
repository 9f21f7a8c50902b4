// What runs between the boxes of the map: the image, time and text, skips.

import { interactive } from "./boxes.js";
import { svg } from "./dom.js";
import { blockOf, TEXT_X, TIME_X, WIDTH } from "./layout.js";
import { shapeText } from "./numbers.js";

function pill(x, y, text, kind) {
  const width = 22 + text.length * 6.9;
  return svg(
    "g",
    { class: `pill ${kind}`, transform: `translate(${x} ${y})` },
    svg("rect", { width, height: 26, rx: 13 }),
    svg("text", { x: width / 2, y: 17, "text-anchor": "middle" }, text),
  );
}

function inputOf(atlas, kind) {
  return atlas.inputs.map((id) => atlas.values[id]).find((value) => value.flow === kind);
}

// Time and text, each one line around the U with a tap at every block that takes it.
export function buses(atlas, plan, options) {
  const group = svg("g", { class: "buses" });
  const taps = { time: [], text: [] };
  atlas.blocks.forEach((block, index) => {
    const box = plan.boxes.get(index);
    if (box && block.parts.some((part) => part.injects)) {
      taps.time.push([block, box]);
    }
    if (
      box &&
      block.parts.some((part) => part.attentions.some((role) => role !== "self_attention"))
    ) {
      taps.text.push([block, box]);
    }
  });
  const boxed = atlas.blocks.some((block) => block.kind === "time");
  const starts = { time: [TIME_X, boxed ? 88 : 69], text: [TEXT_X, 29] };
  for (const [kind, [x, y]] of Object.entries(starts)) {
    const input = inputOf(atlas, kind);
    if (taps[kind].length === 0) {
      continue;
    }
    const low = plan.height - 62 + (kind === "time" ? 20 : 40);
    group.append(svg("path", { class: `bus ${kind}`, d: line(kind, x, y, taps[kind], low) }));
    for (const [block, box] of taps[kind]) {
      group.append(
        svg("path", {
          class: `tap ${kind}`,
          d: tap(kind, x, block, box, low),
          "marker-end": `url(#head-${kind})`,
          "data-block": atlas.blocks.indexOf(block),
        }),
      );
    }
    const text = input
      ? `${input.name}  ${shapeText(input.shape, options.numbers ? atlas.nominal : null)}`
      : kind;
    if (kind === "time" && boxed) {
      group.append(
        svg("path", { class: "tap time", d: "M236 69H210", "marker-end": "url(#head-time)" }),
        pill(236, 56, text, kind),
      );
    } else {
      group.append(pill(x - 12, y - 13, text, kind));
    }
  }
  return group;
}

// Down the left side as far as it is needed, then under the U, then up the right side.
function line(kind, x, y, taps, low) {
  const heights = (side) =>
    taps
      .filter(([block]) => block.kind === side)
      .map(([, box]) => box.y + (kind === "time" ? 26 : 52));
  const rise = heights("up");
  const [mid] = taps.filter(([block]) => block.kind === "mid");
  if (rise.length > 0) {
    return `M${x} ${y}V${low}H${WIDTH - x}V${Math.min(...rise)}`;
  }
  if (mid) {
    return `M${x} ${y}V${low}H${mid[1].x + mid[1].width / 2 + (kind === "time" ? -40 : 40)}`;
  }
  return `M${x} ${y}V${Math.max(...heights("down"))}`;
}

function tap(kind, x, block, box, low) {
  if (block.kind === "mid") {
    const at = box.x + box.width / 2 + (kind === "time" ? -40 : 40);
    return `M${at} ${low}V${box.y + box.height + 1}`;
  }
  const y = box.y + (kind === "time" ? 26 : 52);
  return block.kind === "up"
    ? `M${WIDTH - x} ${y}H${box.x + box.width + 1}`
    : `M${x} ${y}H${box.x - 1}`;
}

// The image: in at the top left, down, across the middle, up and out.
export function flow(atlas, plan) {
  const group = svg("g", { class: "flow", "aria-hidden": "true" });
  const order = atlas.blocks
    .map((block, index) => [block, plan.boxes.get(index)])
    .filter(([block, box]) => box && block.kind !== "time" && block.kind !== "text");
  for (let at = 1; at < order.length; at += 1) {
    const [[, a], [block, b]] = [order[at - 1], order[at]];
    group.append(
      svg("path", {
        class: "wire",
        d: wire(a, b, block.kind),
        "marker-end": "url(#head-image)",
      }),
    );
  }
  const [first, last] = [order[0]?.[1], order.at(-1)?.[1]];
  const input = inputOf(atlas, "image");
  const output = atlas.values[atlas.outputs[0]];
  if (first && input) {
    group.append(
      svg("path", {
        class: "wire",
        d: `M${first.x - 22} ${first.y + 19}H${first.x - 1}`,
        "marker-end": "url(#head-image)",
      }),
      pill(first.x - 80, first.y + 6, input.name, "image"),
    );
  }
  if (last && output) {
    group.append(
      svg("path", {
        class: "wire",
        d: `M${last.x + last.width} ${last.y + 19}h21`,
        "marker-end": "url(#head-image)",
      }),
      pill(last.x + last.width + 22, last.y + 6, output.name, "image"),
    );
  }
  return group;
}

function wire(a, b, kind) {
  const middle = (box) => box.x + box.width / 2;
  const [x, to] = [middle(a), middle(b)];
  if (kind === "mid") {
    return `M${x} ${a.y + a.height}C${x} ${b.y + 38} ${x} ${b.y + 38} ${b.x - 1} ${b.y + 38}`;
  }
  if (kind !== "up" && kind !== "conv_out") {
    return `M${x} ${a.y + a.height}C${x} ${a.y + a.height + 20} ${to} ${b.y - 20} ${to} ${b.y - 1}`;
  }
  const end = b.y + b.height;
  if (end < a.y && a.x > WIDTH / 2) {
    return `M${x} ${a.y}C${x} ${a.y - 20} ${to} ${end + 20} ${to} ${end + 1}`;
  }
  return `M${a.x + a.width} ${a.y + 38}C${to} ${a.y + 38} ${to} ${a.y + 38} ${to} ${end + 1}`;
}

// Skips leave the right edge of a down block and arrive at the left edge of an up block.
export function drawSkips(atlas, plan, options) {
  const group = svg("g", { class: "skips" });
  const ends = new Map();
  for (const skip of atlas.skips) {
    const from = blockOf(atlas, skip.source);
    const to = blockOf(atlas, skip.sink);
    for (const [key, skips] of [
      [`out${from}`, from],
      [`in${to}`, to],
    ]) {
      if (skips !== null) {
        ends.set(key, [...(ends.get(key) ?? []), skip.id]);
      }
    }
  }
  const anchor = (key, box, id) => {
    const ids = ends.get(key);
    return box.y + ((ids.indexOf(id) + 1) * box.height) / (ids.length + 1);
  };
  for (const skip of atlas.skips) {
    const [from, to] = [blockOf(atlas, skip.source), blockOf(atlas, skip.sink)];
    const [a, b] = [plan.boxes.get(from), plan.boxes.get(to)];
    if (!a || !b) {
      continue;
    }
    const [x1, x2] = [a.x + a.width, b.x];
    const [y1, y2] = [anchor(`out${from}`, a, skip.id), anchor(`in${to}`, b, skip.id)];
    const bend = (x2 - x1) / 2;
    const text = shapeText(skip.shape?.slice(1), options.numbers ? atlas.nominal : null);
    const path = `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2 - 1} ${y2}`;
    const arc = svg("g", { class: "skip role-skip", "data-skip": skip.id });
    interactive(
      arc,
      skip.sink,
      `skip ${skip.id}: ${atlas.nodes[skip.source].path} to ${atlas.nodes[skip.sink].path}, ${text}`,
      options,
    );
    arc.append(
      svg("path", { class: "hit", d: path }),
      svg("path", { class: "arc", d: path, "marker-end": "url(#head-skip)" }),
      svg(
        "text",
        { class: "tag", x: (x1 + x2) / 2, y: (y1 + y2) / 2 - 4, "text-anchor": "middle" },
        text,
      ),
    );
    group.append(arc);
  }
  return group;
}
