// Answers on what meets the image: the text, the time, attention. The file alone gives them.

import { sideAt } from "./counting.js";
import { flopsByRole } from "./kinds.js";
import { flopsShare, plural, shapeText, whole } from "./numbers.js";
import { sizeAt } from "./sizebox.js";
import { attentionsIn, crossing, nameOf, placeOf, sided } from "./storyparts.js";

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
      `Self-attention lets every place look at every other: it costs ${flopsShare(self, atlas)} at this size, and four times the places are sixteen times the pairs.`,
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
