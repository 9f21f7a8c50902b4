// Thirteen questions, each one click: an answer in numbers of the file, and what to try next.

import { attend, operands, text, time } from "./answers.js";
import { el, heads } from "./dom.js";
import { differ, duration, precision } from "./evidence.js";
import { link } from "./nodes.js";
import { without, word } from "./sampledanswers.js";
import { cross, double, holds, odd } from "./shapeanswers.js";
import { ODD, sizeAt } from "./sizebox.js";
import { storyNames } from "./stories.js";
import { storyCard, tell } from "./telling.js";

// id: [question, answer, story that is told with it]
export const QUESTIONS = {
  text: ["Where does the text enter?", text, "text"],
  attend: ["Which levels attend?", attend],
  time: ["What does the timestep change?", time, "time"],
  cross: ["What crosses the U?", cross],
  double: ["Where do channels double?", double],
  holds: ["What holds the parameters and the FLOPs?", holds],
  operands: ["Whose Q, and whose K?", operands],
  odd: ["What would 33×35 do?", odd],
  precision: ["What loses precision in fp16?", precision],
  differ: ["How do two checkpoints differ, and by how much?", differ],
  duration: ["How long does each block take?", duration],
  without: ["What breaks without this skip?", without, firstSkip],
  word: ["Which word makes which pixel?", word],
};

// The skip whose story is being told, else the first one.
function firstSkip({ state, atlas }) {
  const { story } = state.current;
  return story.startsWith("skip:") || atlas.skips.length === 0
    ? story
    : `skip:${atlas.skips[0].id}`;
}

export function ask(app, id) {
  const told = QUESTIONS[id][2] ?? "";
  const story = typeof told === "string" ? told : told(app);
  const stop = story.startsWith("skip:") ? "1" : "";
  app.state.set({ ask: id, story, stop, tab: "ask", from: "", to: "" });
  if (id === "odd") {
    sizeAt(app, ODD);
  }
}

export function questionList(app) {
  const now = app.state.current.ask;
  return el(
    "ol",
    { class: "questions", "aria-label": "Thirteen questions" },
    Object.entries(QUESTIONS).map(([id, [question]]) =>
      el(
        "li",
        {},
        el(
          "button",
          {
            type: "button",
            class: "question",
            "data-ask": id,
            "aria-current": id === now ? "true" : null,
            onclick: () => ask(app, id),
          },
          question,
        ),
      ),
    ),
  );
}

const TELL = {
  text: "Follow the text",
  time: "Follow the time",
  sample: "Follow the image",
};

export function storyButtons(app) {
  return el(
    "div",
    { class: "asks" },
    storyNames(app.atlas).map((id) =>
      el(
        "button",
        { type: "button", class: "ask", "data-tell": id, onclick: () => tell(app, id) },
        TELL[id],
      ),
    ),
  );
}

// The answer, the story that goes with it, and the questions that remain.
export function askPanel(app) {
  const { ask: id } = app.state.current;
  const known = Object.hasOwn(QUESTIONS, id);
  return [
    known ? el("h2", {}, QUESTIONS[id][0]) : el("h2", {}, "Questions"),
    known ? answer(app, QUESTIONS[id][1](app)) : null,
    storyCard(app),
    known ? el("h3", {}, "The other questions") : null,
    known || app.state.current.story ? null : storyButtons(app),
    questionList(app),
  ];
}

function answer(app, { say, table, need, next, more }) {
  return el(
    "div",
    { class: "answer" },
    say.map((sentence) => el("p", {}, sentence)),
    table ? tabled(app, table) : null,
    more ?? null,
    need ? command(app, need) : null,
    next?.length > 0
      ? el(
          "div",
          { class: "asks next" },
          el("span", { class: "try" }, "Try next:"),
          next.map(([label, act]) =>
            el("button", { type: "button", class: "ask", onclick: act }, label),
          ),
        )
      : null,
  );
}

// Rows of texts, numbers and nodes; a number stands for the node it is the number of, as {node}.
function tabled(app, { head, rows }) {
  const cell = (one) => {
    if (one && typeof one === "object" && one.node !== undefined) {
      return el("td", {}, link(app, one.node, one.text));
    }
    return el("td", { class: /^[\d<–≥]/.test(`${one}`) ? "number" : "" }, one);
  };
  return el(
    "div",
    { class: "table-host" },
    el(
      "table",
      { class: "shapes" },
      heads(head),
      el(
        "tbody",
        {},
        rows.map((row) => el("tr", {}, row.map(cell))),
      ),
    ),
  );
}

// The one command that makes what is not there, ready to be copied.
function command(app, { say, run }) {
  const copy = el(
    "button",
    {
      type: "button",
      onclick: async () => {
        await window.navigator.clipboard?.writeText(run).catch(() => null);
        copy.textContent = "copied";
      },
    },
    "copy",
  );
  return el(
    "div",
    { class: "need" },
    el("p", {}, say),
    el("div", { class: "command" }, el("code", {}, run), copy),
  );
}
