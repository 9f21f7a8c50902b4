// The level above the U, for a file that holds the whole sampling stage: noise, the loop with
// what it carries, guidance's two halves meeting, the scheduler's step with its numbers.

import { el, swap } from "./dom.js";
import { rounds } from "./schedule.js";

// The strip above the map of one model; null where the file is one call of a UNet.
export function drawStage(app, index) {
  const { stage, nodes } = app.atlases[index];
  if (!stage) {
    return null;
  }
  const box = (id, title, note) => button(app, index, nodes[id], title, note);
  const go = () => app.goIn(index, stage.loop);
  const ends = (ids, title, note) => ids.map((id) => [box(id, title, note), arrow()]);
  return el(
    "section",
    { class: "stage", "aria-label": "The sampling stage around the UNet" },
    el(
      "div",
      { class: "stage-row" },
      el(
        "div",
        { class: "stage-ends" },
        ends(stage.encoders, "Text encoder", "token ids → embeddings"),
        [
          el("span", { class: "stage-end" }, stage.encoders.length ? "noise" : "noise, text"),
          arrow(),
        ],
      ),
      loop(stage, box, go),
      arrow(),
      stage.decoder === null
        ? el("span", { class: "stage-end" }, "latents")
        : [
            box(stage.decoder, "VAE decoder", "latents → pixels"),
            arrow(),
            el("span", { class: "stage-end" }, "image"),
          ],
    ),
    numbers(app, stage),
  );
}

function loop(stage, box, go) {
  const [halves] = stage.halves.slice(-1);
  return el(
    "div",
    { class: "stage-loop" },
    el(
      "div",
      { class: "stage-row" },
      halves === undefined ? null : [box(halves, "Halves", "without and with text"), arrow()],
      box(stage.unet, "UNet", "the U below"),
      arrow(),
      stage.guidance === null
        ? null
        : [box(stage.guidance, "Guidance", "the halves meet"), arrow()],
      stage.step === null ? null : box(stage.step, "Step", stage.scheduler),
    ),
    el(
      "p",
      { class: "stage-back" },
      "↺ ",
      el("button", { type: "button", onclick: go }, "Loop"),
      ` carries ${stage.state.map(plain).join(", ")} from round to round`,
    ),
  );
}

// ONNX wants every name once, so that the file may call the latents `latents_1`.
function plain(name) {
  return name.replace(/_\d+$/, (number) => (name.startsWith("model_output") ? number : ""));
}

function arrow() {
  return el("span", { class: "stage-arrow", "aria-hidden": "true" }, "→");
}

function button(app, index, node, title, note) {
  const around = app.focus === null ? [] : [app.focus, ...app.atlas.ancestors(app.focus)];
  const mine = index === app.index;
  const state = [
    mine && around.includes(node.id) ? "selected" : "",
    mine && app.lit?.nodes?.has(node.id) ? "lit" : "",
  ];
  return el(
    "button",
    {
      type: "button",
      class: ["stage-box", ...state].filter(Boolean).join(" "),
      "data-role": node.role,
      title: node.path,
      onclick: () => app.goIn(index, node.id),
    },
    el("strong", {}, title),
    el("small", {}, note),
  );
}

// The step's formula, and what it comes to in one round of a number of rounds.
function numbers(app, stage) {
  const chosen = (app.stageChosen ??= { steps: 10, at: 0 });
  const said = el("output", { class: "stage-said" });
  const range = (name, value, most, change) =>
    el("input", {
      type: "range",
      "aria-label": name,
      min: 1,
      max: most,
      value,
      oninput: change,
    });
  const steps = range("Number of rounds", chosen.steps, 50, () => tell());
  const at = range("Round", chosen.at + 1, chosen.steps, () => tell());
  function tell() {
    chosen.steps = Number(steps.value);
    const found = rounds(stage, chosen.steps);
    at.max = String(Math.max(found.length, 1));
    chosen.at = Number(at.value) - 1;
    swap(said, found.length ? words(found[chosen.at], chosen, found.length) : "");
  }
  tell();
  return el(
    "div",
    { class: "stage-numbers" },
    stage.formula ? el("code", {}, stage.formula) : null,
    stage.alphas.length
      ? [el("label", {}, "rounds ", steps), el("label", {}, "round ", at), said]
      : null,
  );
}

function words(round, chosen, count) {
  const level = (one) => [
    `ᾱ = ${one.alpha.toPrecision(3)}, `,
    `${one.signal.toFixed(3)} of the image and ${one.noise.toFixed(3)} of noise`,
    ` (σ = ${one.sigma.toPrecision(3)})`,
  ];
  return [
    el("b", {}, `Round ${chosen.at + 1} of ${count}, timestep ${round.timestep}: `),
    "the latents are ",
    level(round),
    ". The UNet says which noise; the step takes it out and leaves ",
    level(round.next),
    ".",
  ];
}
