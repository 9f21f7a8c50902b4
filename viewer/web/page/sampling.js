// Sampling on the page: orders runs, hears how far they are, keeps two of them side by side.

import { inPage } from "../replay/tensors.js";
import { Experiments } from "./experiments.js";
import { lightMap, quantitiesOf, SHARES } from "./samplingmap.js";
import { SamplingPanel } from "./samplingpanel.js";
import { SampledRun } from "./samplingrun.js";
import { Switches } from "./switches.js";
import { ALL } from "./wordmap.js";

const ANY = 999_999_999; // a version that no server has reached: it answers at once
const PAUSE = 300; // milliseconds before an unreachable server is asked again

export class Sampling {
  constructor(app) {
    this.app = app;
    this.server = app.offline ? null : (app.shown.sampling ?? null);
    this.recorded = Boolean(app.shown.recording);
    this.slots = [null, null];
    this.look = { place: 0, word: null, layer: ALL, head: null, quantity: SHARES };
    this.following = true;
    this.error = "";
    this.experiments = new Experiments(() => this.changed());
    this.switches = new Switches(app, this.experiments, () => this.changed());
    this.panel = null;
    this.asking = false;
    this.ordering = false;
  }

  get active() {
    return this.slots.some((run) => run?.active);
  }

  // The panel, made when it is first looked at.
  view() {
    if (this.panel === null) {
      this.panel = new SamplingPanel(this);
      this.opened = this.open();
    }
    return this.panel.element;
  }

  async open() {
    if (this.recorded) {
      const held = document.getElementById("recording");
      const run = new SampledRun(0, null, held ? inPage(held.textContent) : "/recording/data");
      this.slots[0] = run;
      await run.take({ status: "done", error: "", seconds: 0, done: Infinity, of: 0 });
      this.changed();
    }
    if (this.server) {
      this.post("ready");
      await this.resume();
    }
    this.changed();
  }

  // What the server has from before this page was loaded.
  async resume() {
    const { version, runs } = await this.ask(ANY);
    this.version = version;
    const last = runs.filter((run) => run.status === "done" || run.done > 0).at(-1);
    if (last && !this.slots[0]) {
      this.slots[0] = sampled(last.number, last.order);
      await this.told(runs);
      this.hear();
    }
  }

  async ask(version) {
    return (await fetch(`/sample/state/${version}`)).json();
  }

  async post(what, body = {}) {
    const answer = await fetch(`/sample/${what}`, {
      method: "POST",
      headers: { "X-Atlas-Token": this.server.token, "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    const text = await answer.text();
    if (!answer.ok) {
      throw new Error(text);
    }
    return JSON.parse(text);
  }

  async begin(order, beside) {
    const whole = { ...order, ...(beside ? this.experiments.order() : {}) };
    this.error = "";
    this.ordering = true;
    this.changed();
    try {
      const { number } = await this.post("begin", whole);
      const run = sampled(number, whole);
      this.slots = beside && this.slots[0] ? [this.slots[0], run] : [run, null];
      this.following = true;
      this.heard = this.hear();
    } catch (error) {
      this.error = error.message;
    }
    this.ordering = false;
    this.changed();
  }

  // Opens the panel, and makes the runs that answer a question: one as the form has it, unless
  // there is one, and with an experiment (its name, option and what) another one beside it.
  async show(experiment = null) {
    this.app.state.set({ tab: "sample", story: "", stop: "" });
    await this.opened;
    if (experiment) {
      this.experiments.only(...experiment);
    }
    const { form } = this.panel;
    if (!this.slots[0]?.live && !this.active && form) {
      await this.begin(form.order(), false);
      await this.heard;
    }
    const [first] = this.slots;
    if (experiment && first?.status === "done" && form) {
      await this.begin(first.order ?? form.order(), true);
    }
  }

  cancel() {
    this.post("cancel");
  }

  // Asks for news as long as something runs.
  async hear() {
    if (this.asking) {
      return;
    }
    this.asking = true;
    while (this.active) {
      try {
        const { version, runs } = await this.ask(this.version ?? ANY);
        this.version = version;
        await this.told(runs);
      } catch {
        await new Promise((resolve) => {
          window.setTimeout(resolve, PAUSE);
        });
      }
    }
    this.asking = false;
    this.post("ready").catch(() => {});
  }

  async told(runs) {
    for (const run of this.slots) {
      const said = runs.find((one) => one.number === run?.number);
      if (run && said) {
        await run.take(said);
        this.follow(run);
      } else if (run?.active) {
        run.status = "failed";
        run.error = "the server has forgotten this run";
      }
    }
    this.changed();
  }

  // While a run goes on, what is seen is its newest step; a hand on the slider ends that.
  follow(run) {
    if (this.following && run.live && run.of > 1) {
      this.look.place = Math.min(1, (run.done - 1) / (run.of - 1));
    }
  }

  go(place) {
    this.following = false;
    this.set({ place });
  }

  set(changes) {
    Object.assign(this.look, changes);
    this.changed();
  }

  get most() {
    return Math.max(0, ...this.slots.map((run) => run?.most ?? 0));
  }

  // The run that the map shows: the one that goes on, else the first.
  get shownRun() {
    const live = this.slots.filter((run) => run?.live);
    return live.find((run) => run.active) ?? live[0] ?? null;
  }

  quantity(run) {
    const known = quantitiesOf(run.recording);
    return known.find((one) => one.name === this.look.quantity) ?? null;
  }

  changed() {
    this.panel?.update();
    for (const [index, drawn] of [
      ...this.app.parts.maps.querySelectorAll("svg.map"),
    ].entries()) {
      this.paint(drawn, index);
    }
  }

  // Lights one drawn map up, while the panel is open.
  paint(drawn, index) {
    if (this.app.state.current.tab !== "sample" || !this.panel) {
      return;
    }
    const atlas = this.app.atlases[index];
    this.switches.paint(atlas, drawn);
    const run = this.shownRun;
    if (run && (run.order?.model ?? 0) === index) {
      const row = run.recording.rows.length - 1;
      lightMap(drawn, atlas, this.quantity(run), run.stepAt(this.look.place), row);
    }
  }

  // A click on the map, while the panel is open: a switch, or the layer whose words are seen.
  take(index, item) {
    if (this.app.state.current.tab !== "sample" || !this.panel) {
      return false;
    }
    const atlas = this.app.atlases[index];
    if (this.switches.take(atlas, item)) {
      return true;
    }
    const module = atlas.nodes[item.dataset.node]?.module;
    const layers = this.shownRun?.maps.layers ?? [];
    const inside = layers.find((one) => module && `${one.module}.`.startsWith(`${module}.`));
    if (inside && item.classList.contains("part")) {
      this.set({ layer: inside.module, head: null });
      return true;
    }
    return false;
  }
}

function sampled(number, order) {
  return new SampledRun(number, order, `/sample/${number}/data`);
}
