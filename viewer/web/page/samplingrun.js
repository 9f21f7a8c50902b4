// One run as the page knows it: its order, how far it is, and its recording as it grows.

import { Recording } from "../replay/recording.js";
import { overHttp, Tensors } from "../replay/tensors.js";
import { allSaid } from "./experiments.js";
import { WordMaps } from "./wordmap.js";

const NUMBERS = /^(block|residual|injection|skip)\.\w+$|^attention\.entropy$/;
const RETRIES = 5;

export class SampledRun {
  // `address` is where its recording is served, or a reader of bytes that are here.
  constructor(number, order, address) {
    Object.assign(this, { number, order, address });
    this.status = "starting";
    this.error = "";
    this.seconds = 0;
    this.done = 0; // evaluations that can be read
    this.of = 0;
    this.wanted = 0;
    this.recording = null;
    this.maps = null;
    this.most = 0;
    this.growing = null;
  }

  get active() {
    return this.status === "starting" || this.status === "running";
  }

  get live() {
    return this.recording !== null && this.done > 0;
  }

  // Takes what the server says; resolves to whether there is more to see.
  async take(told) {
    const before = `${this.status}${this.done}`;
    Object.assign(this, { status: told.status, error: told.error, seconds: told.seconds });
    this.of = told.of;
    this.wanted = told.done;
    if (this.status === "failed" || this.status === "cancelled") {
      this.recording = null; // its file is gone
    } else if (this.wanted > this.done) {
      this.growing ??= this.grow().finally(() => {
        this.growing = null;
      });
      await this.growing;
    }
    return before !== `${this.status}${this.done}`;
  }

  async grow() {
    this.tensors ??= await opened(this.address);
    const names = Object.keys(this.tensors.header).filter((name) => NUMBERS.test(name));
    const done = Math.min(this.wanted, this.tensors.shape("timestep")[0]);
    const near = names.length > 0 ? await this.tensors.holding(names) : this.tensors;
    const recording = await Recording.open(near, done);
    recording.tensors = this.tensors;
    this.recording = recording;
    this.maps ??= new WordMaps(recording);
    this.maps.recording = recording;
    this.of = recording.steps;
    this.done = done;
    if (done === recording.steps) {
      this.most = await this.maps.most(done);
    } else if (this.most === 0 && done > 0) {
      this.most = await this.maps.most(1); // until all is there
    }
  }

  // The step of this run at a place between 0 and 1 of the timeline.
  stepAt(place) {
    const last = Math.max(this.of, 1) - 1;
    return Math.min(Math.round(place * last), Math.max(this.done, 1) - 1);
  }
}

// A recording that is renamed at this moment is there a moment later.
async function opened(address, tries = RETRIES) {
  try {
    return await Tensors.open(typeof address === "string" ? overHttp(address) : address);
  } catch (error) {
    if (tries === 0) {
      throw error;
    }
    await new Promise((resolve) => {
      window.setTimeout(resolve, 100);
    });
    return opened(address, tries - 1);
  }
}

const NAMES = {
  prompt: "prompt",
  negative: "without",
  seed: "seed",
  steps: "steps",
  guidance: "guidance",
  scheduler: "scheduler",
  model: "model",
};

// What of an order differs from another one, in words.
export function differences(order, other) {
  const found = Object.entries(NAMES).flatMap(([name, title]) =>
    order[name] === other?.[name] ? [] : [[title, order[name]]],
  );
  const told = found.map(([title, value]) =>
    title === "prompt" ? `“${value}”` : `${title} ${value === "" ? "as usual" : value}`,
  );
  return [...told, ...allSaid(order)];
}
