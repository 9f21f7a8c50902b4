// The stories of a model: what its text, its time, its image, a skip or a level goes through, one
// plain sentence at each stop, with the numbers of the file that is open.

import { controlStory, promptStory } from "./conditionstories.js";
import { numbersOf, elements, resized, sideAt } from "./counting.js";
import { blockOf } from "./layout.js";
import { plural, whole } from "./numbers.js";
import { at, attentionsIn, crossing, nameOf, placeOf, stop } from "./storyparts.js";
import { inputOf } from "./wires.js";

const BEGIN = {
  control: controlStory,
  text: textStory,
  prompt: promptStory,
  time: timeStory,
  sample: sampleStory,
};

// {title, stops: [{say, blocks, flows, skips, values, nodes, level}]}; null when the file does not
// have what the story is about.
export function storyOf(atlas, id) {
  const [kind, rest] = id.split(":");
  if (kind === "skip") {
    const skip = atlas.skips.find((one) => one.id === id.slice(5));
    return skip ? skipStory(atlas, skip) : null;
  }
  if (kind === "level") {
    return levelStory(atlas, Number(rest));
  }
  return Object.hasOwn(BEGIN, id) ? BEGIN[id](atlas) : null;
}

export function storyNames(atlas) {
  return Object.keys(BEGIN).filter((id) => storyOf(atlas, id));
}

function places(atlas, block) {
  const size = numbersOf(block.work?.slice(2), atlas.nominal);
  return size && size.length === 2 ? { text: size.join("×"), count: elements(size) } : null;
}

function textStory(atlas) {
  const value = inputOf(atlas, "text");
  const doors = atlas.blocks.filter(
    (block) => attentionsIn(atlas, block, crossing).length > 0,
  );
  if (!value || doors.length === 0) {
    return null;
  }
  const { tokens } = atlas.nominal;
  const width = value.shape?.at(-1) ?? "?";
  const stops = [
    stop(
      `${value.name} holds ${plural(tokens, "token")} of ${width} numbers each (${at(atlas, value.shape)}). A text encoder outside this file made them; the UNet only reads them.`,
      { flows: ["text"], input: "text" },
    ),
  ];
  for (const block of doors) {
    const found = attentionsIn(atlas, block, crossing);
    const [one] = found;
    const size = places(atlas, block);
    const asks = size
      ? `Each of the ${whole(size.count)} places of its ${size.text} image asks with a query, the ${tokens} tokens answer with keys and values`
      : "Each place of its image asks with a query, the tokens answer with keys and values";
    const heads = one.heads
      ? `, in ${plural(one.heads, "head")} of ${one.head_dim ?? "?"} channels`
      : "";
    const pairs = size
      ? `: ${whole(size.count)} × ${tokens} = ${whole(size.count * tokens)} weights a head`
      : "";
    stops.push(
      stop(
        `${nameOf(atlas, block)}, ${placeOf(block)}: ${plural(found.length, "cross-attention")}. ${asks}${heads}${pairs}.`,
        { blocks: [block], flows: ["text"], nodes: found.map((other) => other.call) },
      ),
    );
  }
  const all = atlas.attentions.filter((one) => crossing(one.role));
  const without = sided(atlas).filter((block) => !doors.includes(block));
  const rest =
    without.length > 0
      ? ` ${without.map((block) => nameOf(atlas, block)).join(" and ")} ${without.length === 1 ? "has" : "have"} none: there the text arrives only through the image.`
      : "";
  stops.push(
    stop(`That is all: ${plural(all.length, "cross-attention")}, and no other way in.${rest}`),
  );
  return { title: "The text", stops };
}

export function sided(atlas) {
  return atlas.blocks.filter((block) => ["down", "mid", "up"].includes(block.kind));
}

function timeStory(atlas) {
  const value = inputOf(atlas, "time");
  if (!value || atlas.injections.length === 0) {
    return null;
  }
  const made = atlas.blocks.find((block) => block.kind === "time");
  const stops = [
    stop(
      `${value.name} is one number for each image: how much noise is left, from 999 (nothing but noise) to 0.`,
      { flows: ["time"], input: "time" },
    ),
    ...(made
      ? [stop(embedding(atlas, value, made), { blocks: [made], flows: ["time"] })]
      : []),
  ];
  for (const block of sided(atlas)) {
    const inside = new Set(block.nodes.flatMap((id) => atlas.inside(id)));
    const here = atlas.injections.filter((one) => one.nodes.some((id) => inside.has(id)));
    if (here.length > 0) {
      const nodes = here.flatMap((one) => one.nodes);
      stops.push(
        stop(injecting(atlas, block, here), { blocks: [block], flows: ["time"], nodes }),
      );
    }
  }
  stops.push(
    stop(
      `${plural(atlas.injections.length, "injection")} in all. The time knows no place: it can make a channel louder or quieter everywhere, and nothing more.`,
    ),
  );
  return { title: "The time", stops };
}

function embedding(atlas, value, made) {
  const others = atlas.inputs
    .map((id) => atlas.values[id])
    .filter((one) => one.flow === "time" && one !== value)
    .map((one) => one.name);
  const width = made.shape?.at(-1) ?? "?";
  const more = others.length > 0 ? ` ${others.join(" and ")} join it here.` : "";
  return `The time embedding turns that number into waves and then, with ${whole(made.params)} parameters, into one vector of ${width} numbers (${at(atlas, made.shape)}) that every resnet shares.${more}`;
}

function injecting(atlas, block, here) {
  const size = places(atlas, block);
  const channels = here.at(-1).image?.[1] ?? "?";
  const how = here.some((one) => one.nodes.length > 1)
    ? "scales its channel and adds to it"
    : "is added to its channel";
  const many = size ? `${whole(size.count)} ` : "";
  return `${nameOf(atlas, block)}, ${placeOf(block)}: ${plural(here.length, "resnet")} ${here.length === 1 ? "projects" : "project"} it to ${channels} numbers; each ${how}, the same at all ${many}places.`;
}

function sampleStory(atlas) {
  const value = inputOf(atlas, "image");
  if (!value || sided(atlas).length === 0) {
    return null;
  }
  const stops = [
    stop(
      `${value.name} is the noisy latent: ${value.shape?.[1] ?? "?"} channels of ${at(atlas, value.shape?.slice(2))} places.`,
      { input: "sample" },
    ),
  ];
  for (const block of atlas.blocks.filter(
    (one) => one.kind !== "time" && one.kind !== "text",
  )) {
    stops.push(stop(passing(atlas, block), { blocks: [block], skips: skipsOf(atlas, block) }));
  }
  const out = atlas.values[atlas.outputs[0]];
  stops.push(
    stop(
      `${out.name}, ${at(atlas, out.shape)}, has a number for every number of ${value.name}: what the model predicts. A scheduler takes one step with it, and the loop begins again.`,
      { input: "out" },
    ),
  );
  return { title: "The image", stops };
}

function skipsOf(atlas, block) {
  const index = atlas.blocks.indexOf(block);
  return atlas.skips.filter(
    (skip) => blockOf(atlas, skip.source) === index || blockOf(atlas, skip.sink) === index,
  );
}

function passing(atlas, block) {
  const name = nameOf(atlas, block);
  if (block.kind === "conv_in" || block.kind === "conv_out") {
    return `${name} makes ${block.shape?.[1] ?? "?"} channels of it (${at(atlas, block.shape)}).`;
  }
  const index = atlas.blocks.indexOf(block);
  const cross = attentionsIn(atlas, block, crossing).length;
  const self = attentionsIn(atlas, block, (role) => !crossing(role)).length;
  const resnets = block.parts.filter((part) => part.role === "resnet").length;
  const parts = [
    [resnets, "resnet"],
    [self, "self-attention"],
    [cross, "cross-attention"],
  ]
    .filter(([many]) => many > 0)
    .map(([many, what]) => plural(many, what));
  const leaving = atlas.skips.filter((skip) => blockOf(atlas, skip.source) === index);
  const coming = atlas.skips.filter((skip) => blockOf(atlas, skip.sink) === index);
  const changes = block.parts.map((part) => resized(atlas, part)).filter(Boolean);
  return [
    `${name}, ${placeOf(block)}: ${block.work?.[1] ?? "?"} channels at ${at(atlas, block.work?.slice(2))}${parts.length > 0 ? `, worked on by ${parts.join(", ")}` : ""}.`,
    coming.length > 0 ? `${plural(coming.length, "skip")} join here.` : "",
    leaving.length > 0 ? `${plural(leaving.length, "skip")} leave for the other side.` : "",
    ...changes.map(change),
  ]
    .filter(Boolean)
    .join(" ");
}

// One sentence on a change of resolution: which side decides, and what is rounded.
export function change({ role, from, to, plain, odd }) {
  const [a, b] = [from.join("×"), to.join("×")];
  if (role === "downsample") {
    return `Then ${a} is halved to ${b}${odd ? `: ${plain.join("×")} rounded up` : ""}.`;
  }
  return odd
    ? `Then ${a} is enlarged to ${b}, not to ${plain.join("×")}: the skip that waits there decides the size.`
    : `Then ${a} is doubled to ${b}.`;
}

function skipStory(atlas, skip) {
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

function levelStory(atlas, level) {
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
