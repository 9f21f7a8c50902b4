// The stories of a model: what its text, its time, its image, a skip or a level goes through, one
// plain sentence at each stop, with the numbers of the file that is open.

import { controlStory, promptStory } from "./conditionstories.js";
import {
  at,
  attentionsIn,
  crossing,
  nameOf,
  passing,
  placeOf,
  places,
  sided,
  skipsOf,
  stop,
} from "./storyparts.js";
import { plural, whole } from "./numbers.js";
import { levelStory, skipStory } from "./placestories.js";
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
