// Answers that a run gives: the page makes it itself where it samples, else it says the command.

import { blockOf } from "./layout.js";
import { plural } from "./numbers.js";
import { readsText } from "./samplingform.js";
import { part } from "./shapeanswers.js";
import { nameOf } from "./storyparts.js";

const RUN = "python -m";
const PROMPT = '--prompt "a red circle above a blue square on gray"';

export function without(app) {
  const { atlas, state } = app;
  if (atlas.skips.length === 0) {
    return { say: ["The file marks no skip."] };
  }
  const [, wished] = state.current.story.split(":");
  const skip = atlas.skips.find((one) => one.id === wished) ?? atlas.skips[0];
  const to = atlas.blocks[blockOf(atlas, skip.sink)];
  const others = atlas.skips.filter((one) => one !== skip).slice(0, 3);
  const name = `skip:${skip.id}`;
  const here = samples(app)
    ? [["Sample with it and without, here", () => app.sampling.show([name, "without", name])]]
    : [];
  return {
    say: [
      `Skip ${skip.id}: ${to ? nameOf(atlas, to) : "the up side"} would read zeros in ${part(atlas, skip)} of the channels of ${atlas.nodes[skip.sink].path}. All it then knows of that detail has to come through the bottom of the U.`,
      "What that does to an image is seen by sampling twice from the same noise, with the skip and without.",
    ],
    need: here.length > 0 ? undefined : contrast(app, skip),
    next: [
      ...here,
      ...others.map((one) => [
        `Skip ${one.id} instead`,
        () => state.set({ story: `skip:${one.id}`, stop: "1" }),
      ]),
    ],
  };
}

function samples(app) {
  return Boolean(app.sampling.server);
}

function contrast(app, skip) {
  const { file } = app.atlas;
  const stem = file.replace(/\.onnx$/, "");
  const cut = `${stem}-without-skip-${skip.id}`;
  const prompt = readsText(app) ? ` ${PROMPT}` : "";
  const sample = (name, more) =>
    `${RUN} exporter.sample ${file} ${name}.safetensors${prompt}${more}`;
  return {
    say: "This records both runs, and says how far they are apart, and where:",
    run: [
      sample(stem, ""),
      sample(cut, ` --without skip:${skip.id}`),
      `${RUN} viewer.replay ${stem}.safetensors --against ${cut}.safetensors`,
    ].join(" && "),
  };
}

export function word(app) {
  const { atlas } = app;
  const doors = atlas.attentions.filter((one) => one.role === "cross_attention");
  if (doors.length === 0) {
    return { say: ["The file names no cross-attention, so no word meets a pixel."] };
  }
  const say = [
    `${plural(doors.length, "cross-attention")} decide it: in each, every place spreads its attention over the ${atlas.nominal.tokens} tokens, and the shares of a word are its map.`,
  ];
  if (app.shown.recording) {
    say.push(
      "A recording is here: its maps show, step by step, where each word is looked for.",
    );
    return { say, next: [["See the recording's words", () => app.sampling.show()]] };
  }
  say.push(
    "Which word wins where depends on the prompt and the noise: it is recorded while the model samples.",
  );
  const text = ["Where does the text enter?", () => app.asks("text")];
  return samples(app) && readsText(app)
    ? { say, next: [["Sample here, then point at a word", () => app.sampling.show()], text] }
    : { say, need: recorded(app), next: [text] };
}

function recorded(app) {
  const { file } = app.atlas;
  const run = `${file.replace(/\.onnx$/, "")}.recording.safetensors`;
  return readsText(app)
    ? {
        say: "This records a run and opens the page with it:",
        run: `${RUN} exporter.sample ${file} ${run} ${PROMPT} && ${RUN} viewer ${file} --recording ${run}`,
      }
    : {
        say: "Nothing here reads a prompt. This opens the page with the text encoder of the pipeline in FOLDER, and samples on it:",
        run: `${RUN} viewer ${file} --pipeline FOLDER`,
      };
}
