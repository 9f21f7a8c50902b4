// Answers that the file alone gives.

import { sided } from "./stories.js";
import { attentionsIn, crossing, nameOf, placeOf } from "./storyparts.js";
import { elements, numbersOf, resized, sideAt } from "./counting.js";
import { compact, flopsText, known, plural, shapeText, share, whole } from "./numbers.js";
import { ODD, sizeAt } from "./sizebox.js";
import { roleLabel } from "./roles.js";
import { tell } from "./telling.js";

const goTab = (app, tab) => () => app.state.set({ tab });
const askFor = (app, id) => () => app.asks(id);

function levels(atlas) {
  const all = sided(atlas).map((block) => block.level);
  return [...new Set(all.filter((one) => one !== null && one !== undefined))].sort(
    (a, b) => a - b,
  );
}

export function text(app) {
  const { atlas } = app;
  const all = atlas.attentions.filter((one) => crossing(one.role));
  if (all.length === 0) {
    return { say: ["Nowhere that the file names: it marks no cross-attention."] };
  }
  const doors = sided(atlas).filter(
    (block) => attentionsIn(atlas, block, crossing).length > 0,
  );
  return {
    say: [
      `In ${plural(all.length, "cross-attention")}, in ${doors.length} of ${plural(sided(atlas).length, "block")}, and nowhere else.`,
    ],
    table: {
      head: ["block", "where", "cross-attentions", "heads"],
      rows: doors.map((block) => {
        const found = attentionsIn(atlas, block, crossing);
        const [one] = found;
        return [
          { node: block.nodes[0], text: nameOf(atlas, block) },
          placeOf(block),
          `${found.length}`,
          one.heads ? `${one.heads} × ${one.head_dim ?? "?"}` : "not said",
        ];
      }),
    },
    next: [
      ["Whose Q, and whose K?", askFor(app, "operands")],
      ["Which word makes which pixel?", askFor(app, "word")],
    ],
  };
}

export function attend(app) {
  const { atlas } = app;
  const count = (level, fits) =>
    sided(atlas)
      .filter((block) => block.level === level)
      .reduce((sum, block) => sum + attentionsIn(atlas, block, fits).length, 0);
  const rows = levels(atlas).map((level) => [
    `level ${level}`,
    shapeText(sideAt(atlas, level, true).size ?? undefined, atlas.nominal),
    `${count(level, (role) => !crossing(role))}`,
    `${count(level, crossing)}`,
  ]);
  const silent = rows.filter(([, , selves, crossed]) => selves === "0" && crossed === "0");
  const self = flopsByRole(atlas).get("self_attention") ?? 0;
  const without = sided(atlas)
    .filter((block) => attentionsIn(atlas, block, () => true).length === 0)
    .map((block) => nameOf(atlas, block));
  const twice = { height: 2 * atlas.nominal.height, width: 2 * atlas.nominal.width };
  return {
    say: [
      silent.length === 0
        ? `Every level does${without.length > 0 ? `, but not every block: ${without.join(" and ")} ${without.length === 1 ? "has" : "have"} no attention` : ""}.`
        : `All but ${silent.map(([name]) => name).join(" and ")}.`,
      `Self-attention lets every place look at every other: it costs ${share(self, atlas.flops)} of the FLOPs at this size, and four times the places are sixteen times the pairs.`,
    ],
    table: { head: ["level", "places", "self-attentions", "cross-attentions"], rows },
    next: [
      [
        `See ${twice.height}×${twice.width}: what does attention cost then?`,
        () => sizeAt(app, twice),
      ],
      ["What holds the FLOPs?", askFor(app, "holds")],
    ],
  };
}

export function time(app) {
  const { atlas } = app;
  if (atlas.injections.length === 0) {
    return { say: ["Nothing that the file names: it marks no time injection."] };
  }
  const scaled = atlas.injections.filter((one) => one.nodes.length > 1).length;
  const width = atlas.blocks.find((block) => block.kind === "time")?.shape?.at(-1);
  const channels = atlas.injections.map((one) => one.image?.[1]).filter(Number.isInteger);
  const total = channels.reduce((sum, one) => sum + one, 0);
  return {
    say: [
      `${plural(atlas.injections.length, "resnet")}: one number becomes a vector${width ? ` of ${width}` : ""}, and each resnet makes of it one number for each of its channels, ${whole(total)} in all${scaled > 0 ? " (a factor and a summand)" : ", and adds it"}.`,
      "The same is added at every place: the timestep changes how strong a channel is, never where.",
    ],
    next: [
      ["All injections with their shapes", goTab(app, "time")],
      ["What crosses the U?", askFor(app, "cross")],
    ],
  };
}

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
  const least = atlas.uncounted > 0 ? "at least " : "";
  const most = [...blocks].sort((a, b) => b.flops - a.flops)[0];
  if (blocks.length === 0) {
    return { say: ["No blocks were found in this file; see the outline."] };
  }
  return {
    say: [
      atlas.weighed
        ? `${nameOf(atlas, blocks[0])} holds the most parameters: ${compact(blocks[0].params)}, ${share(blocks[0].params, atlas.params)} of ${compact(atlas.params)}.`
        : "The file does not say how many parameters it has.",
      `${nameOf(atlas, most)} costs the most: ${least}${flopsText(most.flops)} of ${flopsText(atlas.flops)} a step, ${share(most.flops, atlas.flops)}, at this size.`,
      byRole(atlas),
    ],
    table: {
      head: ["block", "parameters", "", "FLOPs", ""],
      rows: blocks.map((block) => [
        { node: block.nodes[0], text: nameOf(atlas, block) },
        known(block.params, atlas.weighed, compact),
        share(block.params, atlas.params),
        `${block.uncounted > 0 ? "≥ " : ""}${flopsText(block.flops)}`,
        share(block.flops, atlas.flops),
      ]),
    },
    next: [
      ["How long does each block take?", askFor(app, "duration")],
      ["At 33×35?", () => sizeAt(app, ODD)],
    ],
  };
}

// The kinds of modules by their FLOPs: of every operator, the innermost module of a kind.
const KINDS = [
  "resnet",
  "self_attention",
  "cross_attention",
  "feed_forward",
  "downsample",
  "upsample",
];
function flopsByRole(atlas) {
  const sums = new Map();
  for (const node of atlas.nodes) {
    if (node.kind !== "op") {
      continue;
    }
    const chain = [
      node,
      ...atlas
        .ancestors(node.id)
        .reverse()
        .map((id) => atlas.nodes[id]),
    ];
    const role = chain.map((one) => one.role).find((one) => KINDS.includes(one));
    if (role) {
      sums.set(role, (sums.get(role) ?? 0) + node.flops);
    }
  }
  return sums;
}

function byRole(atlas) {
  const sorted = [...flopsByRole(atlas)].sort((a, b) => b[1] - a[1]);
  return sorted.length > 0
    ? `By kind: ${sorted.map(([role, flops]) => `${roleLabel(role)} ${share(flops, atlas.flops)}`).join(", ")} of the FLOPs.`
    : "The file names no roles, so kinds cannot be told apart.";
}

export function operands(app) {
  const { atlas } = app;
  const all = atlas.attentions.filter((one) => crossing(one.role));
  const [one] = all.length > 0 ? all : atlas.attentions;
  if (!one) {
    return { say: ["The file names no attention."] };
  }
  const shape = (which) => shapeText(one.operands[which], atlas.nominal);
  const from = (which) => one.sources[which].join(", ") || "not said";
  const selves = atlas.attentions.length - all.length;
  return {
    say: [
      all.length > 0
        ? `In ${plural(all.length, "cross-attention")} Q is the image's and K and V are the text's. In ${plural(selves, "self-attention")} all three are the image's.`
        : `In ${plural(selves, "self-attention")} all three are the image's.`,
      `The first one, ${atlas.nodes[one.call].path}:`,
    ],
    table: {
      head: ["", "shape", "depends on"],
      rows: ["Q", "K", "V"].map((letter, which) => [letter, shape(which), from(which)]),
    },
    next: [
      ["Draw this attention", () => app.state.set({ tab: "attention" })],
      ["Go to it", () => app.go(one.node)],
    ],
  };
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
