// What a recording knows, by name: docs/RECORDING.md, and viewer/recording.py in JavaScript.

import { Scale } from "./heat.js";

const PREFIX = "atlas.recording.";

// Name, title, list of places, tensors (arriving and met for a share), scale.
const QUANTITIES = [
  [
    "residual.share",
    "Share that each module adds to the trunk",
    "residuals",
    ["residual.branch", "residual.trunk"],
    "linear",
  ],
  [
    "injection.share",
    "Share of the time vector where it meets the image",
    "injections",
    ["injection.vector", "injection.image"],
    "linear",
  ],
  [
    "skip.share",
    "Share of each skip where it meets the trunk",
    "skips",
    ["skip.skip", "skip.trunk"],
    "linear",
  ],
  [
    "attention.entropy",
    "Entropy of each cross-attention (nats)",
    "attentions",
    ["attention.entropy"],
    "linear",
  ],
  ["block.rms", "Size of what each block hands on (rms)", "blocks", ["block.rms"], "log"],
  ["block.mean", "Mean of what each block hands on", "blocks", ["block.mean"], "signed"],
  ["block.std", "Spread of what each block hands on", "blocks", ["block.std"], "log"],
  ["block.min", "Smallest value that each block hands on", "blocks", ["block.min"], "signed"],
  ["block.max", "Largest value that each block hands on", "blocks", ["block.max"], "signed"],
  [
    "injection.vector",
    "Size of the time vector of each resnet (rms)",
    "injections",
    ["injection.vector"],
    "linear",
  ],
];

export class Recording {
  constructor(tensors) {
    this.tensors = tensors;
    this.metadata = tensors.metadata(PREFIX);
    [this.steps] = tensors.shape("timestep");
    this.rows = this.metadata.run?.rows ?? ["cond"];
    this.sweep = this.metadata.kind === "sweep";
    this.maps = (this.metadata.attentions ?? [])
      .map((one, index) => ({ ...one, name: `attention.map.${index}` }))
      .filter((one) => tensors.has(one.name));
  }

  // `done` evaluations are there already, if the recording still grows.
  static async open(tensors, done = null) {
    const recording = new Recording(tensors);
    recording.done = done ?? recording.steps;
    recording.times = await tensors.read("timestep");
    const known = QUANTITIES.filter(([, , , needed]) =>
      needed.every((name) => tensors.has(name)),
    );
    recording.quantities = await Promise.all(known.map((one) => recording.quantity(...one)));
    return recording;
  }

  async quantity(name, title, list, needed, kind) {
    const [arriving, met] = await Promise.all(
      needed.map((tensor) => this.tensors.read(tensor)),
    );
    const values = met
      ? arriving.map((value, at) => value / Math.max(value + met[at], 1e-37))
      : arriving;
    const [steps, rows] = this.tensors.shape(needed[0]);
    values.fill(NaN, (this.done * values.length) / steps); // not yet written
    const places = (this.metadata[list] ?? []).map((one) => ({
      module: `${one.module}`,
      id: one.id === undefined ? null : `${one.id}`,
      label: list === "skips" ? `skip ${one.id}` : short(`${one.module}`),
    }));
    const at = (step, row, place) =>
      values[(step * rows + Math.min(row, rows - 1)) * places.length + place];
    return { name, title, list, places, values, rows, at, scale: new Scale(values, kind) };
  }

  get title() {
    const { run = {}, model = {} } = this.metadata;
    const parts = this.sweep
      ? [`${this.steps} timesteps`]
      : [
          run.scheduler_class,
          `${this.steps} evaluations`,
          run.guidance ? `guidance ${run.guidance}` : null,
          `seed ${run.seed}`,
        ];
    return [model.name, ...parts].filter(Boolean).join(" · ");
  }

  get note() {
    return this.metadata.prompt?.note ?? "";
  }

  tokens(row) {
    return (this.metadata.prompt?.tokens?.[row] ?? []).map(String);
  }

  // Tokens up to the end of the prompt; a condensed recording may hold fewer.
  shownTokens(row, most) {
    const tokens = this.tokens(row);
    const end = tokens.indexOf("<|endoftext|>");
    const held = this.maps.length > 0 ? this.tensors.shape(this.maps[0].name)[2] : 0;
    return tokens.slice(
      0,
      Math.min(Math.max(end < 0 ? tokens.length : end + 1, 2), held, most),
    );
  }

  // The first maps of one layer at one step: numbers and the size of each.
  async mapsOf(layer, step, row, count) {
    const [steps, rows, tokens, height, width] = this.tensors.shape(layer.name);
    const kept = Math.floor((step * steps) / this.steps); // all steps, unless condensed
    const first = (kept * rows + Math.min(row, rows - 1)) * tokens * height * width;
    return {
      numbers: await this.tensors.part(layer.name, first, count * height * width),
      height,
      width,
    };
  }
}

export function short(module) {
  return module
    .replaceAll("_blocks.", " ")
    .replace("_block", "")
    .replace(".resnets.", " res ")
    .replace(".attentions.", " attn ")
    .replace(".transformer ", ".")
    .replace(".downsamplers.0", " down")
    .replace(".upsamplers.0", " up")
    .replace(".attn", " attn")
    .replace(".ff", " ff");
}
