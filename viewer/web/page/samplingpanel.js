// The panel Sample: the form, one or two runs, one timeline, the words, and what the map shows.

import { scaleBar } from "../replay/curves.js";
import { el, swap } from "./dom.js";
import { capital } from "./numbers.js";
import { SamplingForm } from "./samplingform.js";
import { quantitiesOf } from "./samplingmap.js";
import { differences } from "./samplingrun.js";
import { Stage } from "./samplingstage.js";
import { choices, WordsBox } from "./samplingwords.js";
import { Wording } from "./wording.js";

const NOTHING = { number: "", status: "", done: 0, of: 0 };
const ORDERED = { ...NOTHING, status: "starting" }; // the server has not answered yet
const PACE = 160; // milliseconds a step while playing

export class SamplingPanel {
  constructor(sampling) {
    this.sampling = sampling;
    this.stages = [null, null];
    this.pointed = null;
    this.timer = null;
    this.words = new WordsBox(sampling);
    this.form = sampling.server ? new SamplingForm(sampling.app, this.hooks()) : null;
    this.parts = {
      status: el("div", { class: "sample-status", role: "status" }),
      bar: el("progress", { class: "sample-progress", max: 1, value: 0, hidden: true }),
      shots: el("div", { class: "shots" }),
      time: el("div", { class: "sample-time", hidden: true }),
      map: el("section", { class: "sample-map", hidden: true }),
    };
    this.buildTime();
    this.element = el(
      "div",
      { class: "sampling" },
      this.form?.element ?? howTo(sampling),
      this.parts.bar,
      this.parts.status,
      this.words.element,
      this.parts.shots,
      this.parts.time,
      this.parts.map,
      this.form ? this.otherwise() : null,
    );
  }

  // What the second run may do otherwise.
  otherwise() {
    const { switches, experiments } = this.sampling;
    this.wording = new Wording(experiments);
    return el(
      "section",
      { class: "otherwise" },
      el("h3", {}, "The second run, otherwise"),
      switches.element,
      this.wording.element,
      experiments.element,
    );
  }

  hooks() {
    return {
      begin: (order, beside) => this.sampling.begin(order, beside),
      cancel: () => this.sampling.cancel(),
    };
  }

  buildTime() {
    this.label = el("output", { class: "step-label" });
    this.play = el(
      "button",
      { type: "button", class: "plain play", onclick: () => this.playing() },
      "Play",
    );
    this.slider = el("input", {
      type: "range",
      min: 1,
      max: 1,
      step: 1,
      "aria-label": "Step",
      oninput: () => this.sampling.go(this.placeOf(Number(this.slider.value) - 1)),
    });
    this.parts.time.append(this.play, this.slider, this.label);
  }

  get count() {
    return Math.max(1, ...this.sampling.slots.map((run) => run?.of ?? 0));
  }

  placeOf(step) {
    return step / Math.max(this.count - 1, 1);
  }

  playing() {
    if (this.timer !== null) {
      window.clearInterval(this.timer);
      this.timer = null;
    } else {
      const { look } = this.sampling;
      this.sampling.go(look.place >= 1 ? 0 : look.place);
      this.timer = window.setInterval(() => this.advance(), PACE);
    }
    this.play.textContent = this.timer === null ? "Play" : "Pause";
  }

  advance() {
    const step = Math.round(this.sampling.look.place * (this.count - 1)) + 1;
    if (step >= this.count || !this.element.isConnected) {
      this.playing();
      return;
    }
    this.sampling.go(this.placeOf(step));
  }

  update() {
    const { sampling, parts } = this;
    const live = sampling.slots.filter((run) => run?.live);
    this.form?.update({
      busy: sampling.active || sampling.ordering,
      first: sampling.slots[0]?.live ?? false,
      experiments: sampling.experiments.size,
    });
    this.drawStatus();
    this.drawShots();
    parts.time.hidden = live.length === 0;
    this.words.update(live);
    this.wording?.update(live[0]?.maps.words.map((one) => one.text) ?? []);
    parts.map.hidden = live.length === 0;
    if (live.length > 0) {
      this.drawTime(live[0]);
      this.drawMap();
    }
    this.look();
  }

  drawStatus() {
    const { sampling, parts, element } = this;
    const last = sampling.slots.findLast((one) => one !== null) ?? NOTHING;
    const run = sampling.ordering ? ORDERED : last;
    const failed = sampling.error || (run.status === "failed" ? run.error : "");
    parts.status.classList.toggle("failed", failed !== "");
    parts.status.textContent = failed || statusOf(run);
    element.dataset.status = run.status;
    element.dataset.run = run.number;
    this.drawBar(run, sampling.active || sampling.ordering);
  }

  drawBar({ done, of }, busy) {
    const { bar } = this.parts;
    bar.hidden = !busy;
    bar.max = Math.max(1, of);
    if (done > 0) {
      bar.value = done;
    } else {
      bar.removeAttribute("value"); // nobody knows yet
    }
  }

  drawShots() {
    const { slots } = this.sampling;
    const titles = slots[1] ? ["First", "Second"] : ["Sampled", ""];
    slots.forEach((run, at) => {
      if (this.stages[at]?.run !== run || this.stages[at]?.title !== titles[at]) {
        this.stages[at] = run
          ? Object.assign(new Stage(run, titles[at], this.stageHooks()), { title: titles[at] })
          : null;
        swap(
          this.parts.shots,
          this.stages.map((stage) => stage?.element),
        );
      }
    });
    this.parts.shots.classList.toggle("two", slots[1] !== null);
    this.stages.forEach((stage, at) => {
      if (stage) {
        stage.note.textContent = captionOf(slots, at);
      }
    });
  }

  stageHooks() {
    return {
      point: (stage, place) => {
        this.pointed = place ? [stage, place] : null;
        this.point();
      },
      go: (place) => this.sampling.go(place),
    };
  }

  // Both runs show the words of the same place.
  point() {
    const place = this.pointed?.[1] ?? null;
    this.stages.forEach((stage) => stage?.point(place, this.sampling.most));
  }

  async look() {
    const { look, most } = this.sampling;
    await Promise.all(this.stages.map((stage) => stage?.draw(look.place, { ...look, most })));
    this.point();
    const shown = this.stages.findLast((stage) => stage?.shown >= 0);
    this.element.dataset.shown = shown ? String(shown.shown + 1) : "";
  }

  drawTime(run) {
    const { place } = this.sampling.look;
    const step = run.stepAt(place);
    this.slider.max = this.count;
    this.slider.value = Math.round(place * (this.count - 1)) + 1;
    const time = Number(run.recording.times[step].toFixed(1));
    this.label.textContent = `step ${step + 1} of ${run.of}, t = ${time}`;
  }

  drawMap() {
    const { sampling } = this;
    const run = sampling.shownRun;
    const known = quantitiesOf(run.recording);
    const names = known.map((one) => one.name).join();
    if (this.parts.map.dataset.names !== names) {
      this.parts.map.dataset.names = names;
      this.choice = el("select", {
        "aria-label": "What the map shows",
        onchange: () => sampling.set({ quantity: this.choice.value }),
      });
      this.bar = el("div", { class: "map-scale" });
      swap(this.parts.map, el("h3", {}, "On the map"), this.choice, this.bar);
    }
    choices(this.choice, sampling.look.quantity, [
      ...known.map((one) => [one.name, one.title]),
      ["", "nothing"],
    ]);
    const quantity = sampling.quantity(run);
    swap(this.bar, quantity ? scaleBar(quantity.scale) : null);
  }
}

function statusOf(run) {
  if (run.status === "starting") {
    return "Starting …";
  }
  if (run.status === "running") {
    return `Step ${run.done} of ${run.of}`;
  }
  if (run.status === "cancelled") {
    return "Cancelled; nothing is left of this run.";
  }
  const took = run.seconds ? ` in ${run.seconds.toFixed(1)} s` : "";
  return run.recording ? `${run.of} steps${took}. ${capital(run.recording.note)}.` : "";
}

function captionOf(slots, at) {
  const run = slots[at];
  if (!run.order) {
    return run.recording?.title ?? "";
  }
  if (at === 0) {
    const { prompt, seed, guidance } = run.order;
    return `${prompt ? `“${prompt}”, ` : ""}seed ${seed}, guidance ${guidance}`;
  }
  const told = differences(run.order, slots[0].order);
  return told.length > 0 ? told.join(", ") : "the same again";
}

// Where there is no server that samples: what to do instead.
function howTo(sampling) {
  const file = sampling.app.atlas.file;
  return el(
    "div",
    { class: "how-to" },
    el("h2", {}, "Sample"),
    el("p", {}, "This page has no server behind it that could run the model. Open it with"),
    el("pre", {}, `python -m viewer ${file}`),
    el("p", {}, "or record a run, and replay it:"),
    el(
      "pre",
      {},
      `python -m exporter.sample ${file}\npython -m viewer.replay RUN.safetensors`,
    ),
  );
}
