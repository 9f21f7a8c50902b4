// Answers on shapes and what they cost: skips, channels, FLOPs, odd sizes. The file alone gives
// them.

import { elements, numbersOf, resized } from "./counting.js";
import { flopsByRole } from "./kinds.js";
import {
  compact,
  flopsBound,
  flopsWord,
  known,
  plural,
  shapeText,
  share,
  whole,
} from "./numbers.js";
import { roleLabel } from "./roles.js";
import { ODD, sizeAt } from "./sizebox.js";
import { nameOf, sided } from "./storyparts.js";
import { tell } from "./telling.js";

const goTab = (app, tab) => () => app.state.set({ tab });
const askFor = (app, id) => () => app.asks(id);

export function cross(app) {
  const { atlas } = app;
  if (atlas.skips.length === 0) {
    return { say: ["Nothing that the file names: it marks no skip."] };
  }
  const sizes = atlas.skips.map((skip) => elements(numbersOf(skip.shape, atlas.nominal)));
  const total = sizes.some((one) => one === null) ? null : sizes.reduce((a, b) => a + b, 0);
  const mid = sided(atlas).find((block) => block.kind === "mid");
  const bottom = elements(numbersOf(mid?.shape, atlas.nominal));
  const ratio =
    total && bottom
      ? ` ${(total / bottom).toFixed(1)} times the ${whole(bottom)} numbers that pass the bottom.`
      : "";
  return {
    say: [
      `${plural(atlas.skips.length, "skip")}, ${total === null ? "of unknown size" : `${whole(total)} numbers`}:${ratio || " what the down side has made, unchanged."}`,
    ],
    table: {
      head: ["skip", "from", "to", "shape", "numbers", "of the Concat"],
      rows: atlas.skips.map((skip, at) => [
        `skip ${skip.id}`,
        { node: skip.source, text: atlas.nodes[skip.source].path },
        { node: skip.sink, text: atlas.nodes[skip.sink].path },
        shapeText(skip.shape, atlas.nominal),
        sizes[at] === null ? "unknown" : whole(sizes[at]),
        part(atlas, skip),
      ]),
    },
    next: [
      [`Follow skip ${atlas.skips[0].id}`, () => tell(app, `skip:${atlas.skips[0].id}`)],
      ["What breaks without it?", askFor(app, "without")],
    ],
  };
}

// How much of what is concatenated comes from the skip.
export function part(atlas, skip) {
  const all = atlas.outShape(skip.sink)?.[1];
  const mine = skip.shape?.[1];
  return Number.isInteger(all) && Number.isInteger(mine) ? share(mine, all) : "unknown";
}

export function double(app) {
  const { atlas } = app;
  const way = sided(atlas).concat(atlas.blocks.filter((block) => block.kind === "conv_out"));
  const order = atlas.blocks.filter((block) => block.kind === "conv_in").concat(way);
  const steps = order
    .map((block, at) => [order[at - 1]?.work?.[1], block.work?.[1], block])
    .filter(([from, to]) => from !== to && Number.isInteger(from) && Number.isInteger(to));
  const grown = steps.filter(([from, to]) => to > from);
  const exact = grown.filter(([from, to]) => to === 2 * from);
  const name = (block) => nameOf(atlas, block);
  return {
    say: [
      grown.length === 0
        ? "Nowhere that the file says."
        : exact.length > 0
          ? `In ${exact.map(([from, to, block]) => `${name(block)} (${from} to ${to})`).join(", ")}.`
          : "They never quite double.",
      grown.length > exact.length
        ? `They grow by less in ${grown
            .filter((one) => !exact.includes(one))
            .map(
              ([from, to, block]) =>
                `${name(block)} (${from} to ${to}, ×${Number((to / from).toFixed(2))})`,
            )
            .join(", ")}.`
        : "Half the side is a quarter of the places: with twice the channels, half the numbers remain.",
      "Every Concat of a skip widens what the next resnet reads; its first convolution narrows it again.",
    ],
    table: {
      head: ["block", "channels before", "channels", "factor"],
      rows: steps.map(([from, to, block]) => [
        { node: block.nodes[0], text: name(block) },
        `${from}`,
        `${to}`,
        `×${Number((to / from).toFixed(2))}`,
      ]),
    },
    next: [
      ["Every shape down and up", goTab(app, "shapes")],
      ["What holds the parameters?", askFor(app, "holds")],
    ],
  };
}

export function holds(app) {
  const { atlas } = app;
  const blocks = [...atlas.blocks].sort((a, b) => b.params - a.params);
  const most = [...blocks].sort((a, b) => b.flops - a.flops)[0];
  if (blocks.length === 0) {
    return { say: ["No blocks were found in this file; see the outline."] };
  }
  return {
    say: [
      atlas.weighed
        ? `${nameOf(atlas, blocks[0])} holds the most parameters: ${compact(blocks[0].params)}, ${share(blocks[0].params, atlas.params)} of ${compact(atlas.params)}.`
        : "The file does not say how many parameters it has.",
      `${nameOf(atlas, most)} costs the most${atlas.uncounted > 0 ? " of what is counted" : ""}: ${flopsBound(most.flops, most.uncounted)} of ${flopsBound(atlas.flops, atlas.uncounted)} a step, ${share(most.flops, atlas.flops)}, at this size.`,
      byRole(atlas),
    ],
    table: {
      head: [
        "block",
        "parameters",
        "",
        "FLOPs",
        atlas.uncounted > 0 ? "of those counted" : "",
      ],
      rows: blocks.map((block) => [
        { node: block.nodes[0], text: nameOf(atlas, block) },
        known(block.params, atlas.weighed, compact),
        share(block.params, atlas.params),
        flopsBound(block.flops, block.uncounted),
        share(block.flops, atlas.flops),
      ]),
    },
    next: [
      ["How long does each block take?", askFor(app, "duration")],
      ["At 33×35?", () => sizeAt(app, ODD)],
    ],
  };
}

function byRole(atlas) {
  const sorted = [...flopsByRole(atlas)].sort((a, b) => b[1] - a[1]);
  return sorted.length > 0
    ? `By kind: ${sorted.map(([role, flops]) => `${roleLabel(role)} ${share(flops, atlas.flops)}`).join(", ")} of the ${flopsWord(atlas)}.`
    : "The file names no roles, so kinds cannot be told apart.";
}

export function odd(app) {
  const { atlas } = app;
  const { height, width } = atlas.nominal;
  const step = Number(atlas.metadata["atlas.size_multiple"] ?? 1);
  const changes = atlas.blocks
    .flatMap((block) => block.parts.map((one) => [block, resized(atlas, one)]))
    .filter(([, one]) => one);
  const here = height === ODD.height && width === ODD.width;
  const decided = changes.filter(([, one]) => one.odd && one.role === "upsample").length;
  const rounded = changes.filter(([, one]) => one.odd && one.role === "downsample").length;
  const say = [];
  if (step > 1 && (ODD.height % step > 0 || ODD.width % step > 0)) {
    say.push(`It would fail: this file takes multiples of ${step} only.`);
  }
  if (!here) {
    say.push(`The map stands at ${height}×${width}; try 33×35 in the size box.`);
  }
  say.push(
    changes.length === 0
      ? "The file marks no change of resolution, so the page cannot tell."
      : `At ${height}×${width} ${rounded} of the halvings round up, and ${plural(decided, "upsampling")} must not simply double: the skip that waits decides the size.`,
  );
  return {
    say,
    table: {
      head: ["block", "from", "to", ""],
      rows: changes.map(([block, one]) => [
        { node: one.node, text: nameOf(atlas, block) },
        one.from.join("×"),
        one.to.join("×"),
        one.odd
          ? one.role === "downsample"
            ? `${one.plain.join("×")}, rounded up`
            : `the skip's size, not ${one.plain.join("×")}`
          : one.role === "downsample"
            ? "halved exactly"
            : "doubled exactly",
      ]),
    },
    next: [
      here
        ? ["Back to the model's own size", () => app.state.set({ size: "" })]
        : ["Show 33×35 on the map", () => sizeAt(app, ODD)],
      ["Prove it: was 33×35 compared with PyTorch?", goTab(app, "parity")],
    ],
  };
}
