// The stories of conditions from outside: a reference image, a control image.

import { plural } from "./numbers.js";
import { at, attentionsIn, nameOf, placeOf, stop } from "./storyparts.js";
import { inputOf } from "./wires.js";

export function promptStory(atlas) {
  const value = inputOf(atlas, "prompt");
  const prompted = (role) => role === "image_prompt";
  const doors = atlas.blocks.filter(
    (block) => attentionsIn(atlas, block, prompted).length > 0,
  );
  if (!value || doors.length === 0) {
    return null;
  }
  const flows = ["prompt"];
  const made = atlas.blocks.filter((block) => block.kind === "image_prompt");
  const first = `${value.name} is what CLIP makes of a reference image (${at(atlas, value.shape)}). An IP-Adapter turns it into tokens of the width of the text's.`;
  const last =
    "Beside each of them stands the text's own attention: two doors, each with keys and values of its own. What comes through this one is multiplied by the adapter's strength and added; at strength 0 nothing is added.";
  return {
    title: "The reference image",
    stops: [
      stop(first, { blocks: made, flows, input: "prompt" }),
      ...doors.map((block) => {
        const found = attentionsIn(atlas, block, prompted);
        const say = `${nameOf(atlas, block)}, ${placeOf(block)}: ${plural(found.length, "attention")}. Each place of its image asks with the query that it asks the text with; the tokens of the reference image answer.`;
        return stop(say, { blocks: [block], flows, nodes: found.map((one) => one.call) });
      }),
      stop(last),
    ],
  };
}

export function controlStory(atlas) {
  const value = inputOf(atlas, "control");
  const made = atlas.blocks.filter((block) => block.kind === "control_image");
  if (!value || made.length === 0) {
    return null;
  }
  const zero = atlas.blocks.filter((block) => block.kind === "zero");
  const count = zero.flatMap((block) => block.nodes).length;
  const where =
    count > 0
      ? `${plural(count, "zero convolution")}, one for each skip of the UNet and one for its middle, hand it on. They began as zeros: before training a ControlNet adds nothing.`
      : "The ControlNet beside the U makes of it what is added to the skips and to the middle.";
  return {
    title: "The control image",
    stops: [
      stop(
        `${value.name} is the control image (${at(atlas, value.shape)}), as large as the picture.`,
        {
          flows: ["control"],
          input: "control",
        },
      ),
      stop("Convolutions make it as small as the latents, and it is added to them once.", {
        blocks: made,
      }),
      stop(where, { blocks: zero }),
    ],
  };
}
