// What to sample: prompt, seed, steps, guidance, scheduler; and the two buttons that start it.

import { el } from "./dom.js";
import { plural } from "./numbers.js";

const SCHEDULERS = [
  ["", "the pipeline’s own"],
  ["ddim", "DDIM"],
  ["ddpm", "DDPM"],
  ["deis", "DEIS"],
  ["dpm++", "DPM++"],
  ["dpm++-karras", "DPM++ Karras"],
  ["euler", "Euler"],
  ["euler-a", "Euler ancestral"],
  ["heun", "Heun"],
  ["lcm", "LCM"],
  ["pndm", "PNDM"],
  ["tcd", "TCD"],
  ["unipc", "UniPC"],
];
const SHAPES = { prompt: "a red circle left of a blue square on white", guidance: "3" };
const SMALL_MODEL = 2e7; // parameters up to which the maps of every head are kept

export class SamplingForm {
  // `hooks.begin(order, beside)` and `hooks.cancel()` are told of what is pressed.
  constructor(app, hooks) {
    this.app = app;
    const { atlas } = app;
    this.reads = readsText(app);
    const start = this.reads && atlas.name === "shapes" ? SHAPES : {};
    this.prompt = field("text", {
      value: start.prompt ?? "",
      disabled: !this.reads,
      maxlength: 2000,
      placeholder: this.reads ? "what to paint" : "no text encoder: --pipeline",
      autocomplete: "off",
    });
    this.negative = field("text", {
      maxlength: 2000,
      disabled: !this.reads,
      autocomplete: "off",
    });
    this.seed = field("number", { value: 0, min: 0, step: 1, required: true });
    this.steps = field("number", { value: 20, min: 1, max: 1000, step: 1, required: true });
    this.guidance = field("number", { value: start.guidance ?? "7.5", step: "any" });
    this.scheduler = el(
      "select",
      {},
      SCHEDULERS.map(([value, name]) => el("option", { value }, name)),
    );
    this.model = el(
      "select",
      {},
      app.atlases.map((one, at) => el("option", { value: at }, `${"AB"[at]} ${one.file}`)),
    );
    this.heads = el("input", { type: "checkbox", checked: atlas.params < SMALL_MODEL });
    this.first = button("Sample", "primary", () => this.send(hooks, false));
    this.beside = button("Sample beside it", "", () => this.send(hooks, true));
    this.cancel = button("Cancel", "", () => hooks.cancel());
    this.element = this.build(hooks);
  }

  build(hooks) {
    const two = this.app.atlases.length > 1;
    return el(
      "form",
      {
        class: "sample-form",
        onsubmit: (event) => {
          event.preventDefault();
          this.send(hooks, false);
        },
      },
      labelled("Prompt", this.prompt, "wide"),
      labelled("Seed", this.seed),
      labelled("Steps", this.steps),
      labelled("Guidance", this.guidance),
      labelled("Scheduler", this.scheduler, "broad"),
      two ? labelled("Model", this.model) : null,
      el(
        "div",
        { class: "sample-go" },
        this.first,
        this.beside,
        this.cancel,
        el(
          "details",
          { class: "sample-more" },
          el("summary", {}, "More"),
          labelled("Negative prompt", this.negative, "wide"),
          el("label", { class: "check" }, this.heads, "keep the maps of every head"),
        ),
      ),
    );
  }

  order() {
    return {
      model: this.app.atlases.length > 1 ? Number(this.model.value) : 0,
      prompt: this.reads ? this.prompt.value : "",
      negative: this.negative.value,
      seed: this.seed.value,
      steps: this.steps.value,
      guidance: this.guidance.value,
      scheduler: this.scheduler.value,
      heads: this.heads.checked,
    };
  }

  send(hooks, beside) {
    if (this.element.reportValidity()) {
      hooks.begin(this.order(), beside);
    }
  }

  // What can be pressed now.
  update({ busy, first, experiments }) {
    this.first.disabled = busy;
    this.beside.disabled = busy || !first;
    this.cancel.hidden = !busy;
    const count = experiments > 0 ? `, ${plural(experiments, "experiment")}` : "";
    this.beside.textContent = `Sample beside it${count}`;
  }
}

// Whether somebody reads the prompt: a pipeline that was named, or the one that is shipped.
export function readsText({ atlas, shown }) {
  const takes = atlas.attentions.some((one) => one.role !== "self_attention");
  const shipped = atlas.name === "shapes" && atlas.weights.source === "checkpoint";
  return takes && Boolean(shown.sampling?.pipeline || shipped);
}

function field(type, attributes) {
  return el("input", { type, ...attributes });
}

function labelled(text, input, kind = "") {
  return el("label", { class: `field ${kind}` }, el("span", {}, text), input);
}

function button(text, kind, onclick) {
  return el("button", { type: "button", class: `plain ${kind}`, onclick }, text);
}
