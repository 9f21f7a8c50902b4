// The stories of a skip and of a level.

import { at, nameOf, passing, sided, stop } from "./storyparts.js";
import { elements, numbersOf, sideAt } from "./counting.js";
import { blockOf } from "./layout.js";
import { plural, whole } from "./numbers.js";

export function skipStory(atlas, skip) {
  const [from, to] = [skip.source, skip.sink].map((id) => atlas.blocks[blockOf(atlas, id)]);
  const sink = atlas.nodes[skip.sink];
  const numbers = elements(numbersOf(skip.shape, atlas.nominal));
  const met = sink.in
    .filter((id) => id >= 0 && id !== skip.value)
    .map((id) => atlas.values[id]);
  const [mine, below, all] = [skip.shape, met[0]?.shape, atlas.outShape(skip.sink)].map(
    (shape) => shape?.[1] ?? "?",
  );
  const ends = { skips: [skip], nodes: [skip.source, skip.sink] };
  const stops = [
    stop(
      `${from ? nameOf(atlas, from) : "The down side"} keeps what ${atlas.nodes[skip.source].path} has made: ${at(atlas, skip.shape)}${numbers === null ? "" : `, ${whole(numbers)} numbers`}, before the U goes deeper.`,
      { blocks: from ? [from] : [], nodes: [skip.source] },
    ),
    stop(
      `Skip ${skip.id} carries it straight across, unchanged: fine detail need not survive the bottom of the U.`,
      ends,
    ),
    stop(
      `${to ? nameOf(atlas, to) : "The up side"} concatenates it in ${sink.path}: ${below} channels from below and ${mine} from the skip make ${all}, of which the next resnet makes its own number again.`,
      { ...ends, blocks: to ? [to] : [] },
    ),
  ];
  return { title: `Skip ${skip.id}`, stops, skip };
}

export function levelStory(atlas, level) {
  const blocks = sided(atlas).filter((block) => block.level === level);
  if (blocks.length === 0) {
    return null;
  }
  const { size, odd, text } = sideAt(atlas, level, false);
  const many = size
    ? `${size.join("×")} = ${whole(elements(size))} places`
    : "of unknown size";
  const halves =
    level > 0 && text !== "size not said" ? ` (${text}${odd ? ", rounded up" : ""})` : "";
  const skips = atlas.skips.filter((skip) =>
    blocks.some((block) => blockOf(atlas, skip.sink) === atlas.blocks.indexOf(block)),
  );
  const reach =
    level === 0
      ? "Here a 3×3 convolution sees the finest detail."
      : `A 3×3 convolution here spans about ${3 * 2 ** level}×${3 * 2 ** level} places of the input: fewer places, a wider view.`;
  const stops = [stop(`Level ${level} is ${many}${halves}. ${reach}`, { blocks, level })];
  for (const block of blocks) {
    stops.push(stop(passing(atlas, block), { blocks: [block], level }));
  }
  if (skips.length > 0) {
    const ids = skips.map((skip) => skip.id).join(", ");
    stops.push(
      stop(
        `${plural(skips.length, "skip")} (${ids}) arrive${skips.length === 1 ? "s" : ""} at this level.`,
        {
          skips,
          level,
        },
      ),
    );
  }
  return { title: `Level ${level}`, stops, level };
}
