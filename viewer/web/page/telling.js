// A story on the page: the stop one is at, its sentence, and the path lit as far as that.

import { el } from "./dom.js";
import { storyOf } from "./stories.js";
import { link } from "./nodes.js";

// The story that the address names, with the stop one is at; null when there is none.
export function told(app) {
  const story = app.state.current.story ? storyOf(app.atlas, app.state.current.story) : null;
  if (!story) {
    return null;
  }
  const asked = Number(app.state.current.stop) || 0;
  return { ...story, at: Math.min(Math.max(asked, 0), story.stops.length - 1) };
}

// Everything lit up to the stop, in the form that the map and Netron light.
export function litByStory(atlas, story) {
  const lit = { nodes: new Set(), values: new Set(), skips: new Set(), taps: new Set() };
  lit.now = new Set();
  lit.buses = new Set();
  lit.inputs = new Set();
  lit.level = story.level ?? null;
  story.stops.slice(0, story.at + 1).forEach((stop, at) => {
    for (const block of stop.blocks) {
      block.nodes.forEach((id) => lit.nodes.add(id));
      stop.flows.forEach((flow) => lit.taps.add(`${flow} ${atlas.blocks.indexOf(block)}`));
      if (at === story.at) {
        block.nodes.forEach((id) => lit.now.add(id));
      }
    }
    for (const id of stop.nodes) {
      [id, ...atlas.ancestors(id)].forEach((one) => lit.nodes.add(one));
    }
    for (const skip of stop.skips) {
      lit.skips.add(skip.id);
      lit.values.add(skip.value);
    }
    stop.flows.forEach((flow) => lit.buses.add(flow));
    if (stop.input) {
      lit.inputs.add(stop.input);
    }
  });
  lit.values.delete(null);
  return lit;
}

export function tell(app, id) {
  app.state.set({ story: id, stop: "", ask: "", tab: "ask", from: "", to: "" });
}

export function storyCard(app) {
  const story = told(app);
  if (!story) {
    return null;
  }
  const { at, stops } = story;
  const go = (to) => app.state.set({ stop: to > 0 ? String(to) : "" }, true);
  const button = (text, title, to) =>
    el(
      "button",
      {
        type: "button",
        class: "stop-step",
        "aria-label": title,
        disabled: to < 0 || to >= stops.length,
        onclick: () => go(to),
      },
      text,
    );
  const nodes = stops[at].nodes.slice(0, 6);
  return el(
    "section",
    { class: "story", "aria-label": `${story.title}, told in ${stops.length} stops` },
    el(
      "div",
      { class: "story-head" },
      el("h3", {}, story.title),
      el("span", { class: "story-count" }, `stop ${at + 1} of ${stops.length}`),
      el(
        "button",
        {
          type: "button",
          class: "story-close",
          "aria-label": "end the story",
          onclick: () => app.state.set({ story: "", stop: "" }),
        },
        "✕",
      ),
    ),
    el("p", { class: "story-say", "aria-live": "polite" }, stops[at].say),
    nodes.length > 0
      ? el(
          "p",
          { class: "story-nodes" },
          "Look inside: ",
          nodes.map((id) => link(app, id)),
        )
      : null,
    el(
      "div",
      { class: "story-steps" },
      button("‹ back", "previous stop", at - 1),
      el("progress", { max: stops.length, value: at + 1, "aria-hidden": "true" }),
      button("next ›", "next stop", at + 1),
    ),
  );
}

// The stop one is at, or what is selected, is brought into view, when it is another than before.
export function follow(app, story) {
  const { story: id, stop } = app.state.current;
  const at = story ? `${id} ${stop}` : `${app.focus ?? ""}`;
  if (at && at !== app.followed) {
    app.parts.maps
      .querySelector(story ? ".now, .skip.lit, .level.lit" : ".selected")
      ?.scrollIntoView({ block: window.innerWidth < 1000 ? "start" : "nearest" });
  }
  app.followed = at;
}
