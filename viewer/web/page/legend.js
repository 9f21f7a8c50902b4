// The legend: the places of one kind on the map, faded and stepped through in one row.

import { el } from "./dom.js";
import { ROLES, roleClass, roleLabel } from "./roles.js";
import { wordFor } from "./tiles.js";

// The kinds that have places on the map.
const KINDS = [
  "resnet",
  "self_attention",
  "cross_attention",
  "joint_attention",
  "image_prompt",
  "downsample",
  "upsample",
  "skip",
  "time_injection",
  "condition",
  "zero_convolution",
  "lora",
];

export function legend(app) {
  const { atlas } = app;
  const present = KINDS.filter((role) => placesOf(atlas, role).length > 0);
  if (present.length === 0) {
    return [el("p", { class: "empty" }, "No roles in this file.")];
  }
  return [
    el("span", { class: "legend-title", title: "How many of each the map has" }, "Places"),
    present.map((role) => item(app, role)),
    picker(app, present),
  ];
}

function placesOf(atlas, role) {
  if (role === "resnet" && atlas.blocks.some((block) => block.parts.length > 0)) {
    return atlas.blocks.flatMap((block) =>
      block.parts.filter((part) => part.role === role).map((part) => part.node),
    );
  }
  return atlas.roles[role] ?? [];
}

function stepped(app, role, by) {
  const ids = placesOf(app.atlas, role);
  const at = ids.indexOf(app.focus);
  const first = by > 0 ? 0 : ids.length - 1;
  app.state.set({ role }, true);
  app.go(ids[at < 0 ? first : (at + by + ids.length) % ids.length]);
}

function step(app, role, by) {
  return el(
    "button",
    {
      type: "button",
      class: "legend-step",
      "aria-label": `${by < 0 ? "previous" : "next"} ${roleLabel(role)}`,
      onclick: () => stepped(app, role, by),
    },
    by < 0 ? "‹" : "›",
  );
}

function item(app, role) {
  const ids = placesOf(app.atlas, role);
  const at = ids.indexOf(app.focus);
  const off = app.hidden.has(role);
  const many = at < 0 ? `${ids.length}` : `${at + 1} of ${ids.length}`;
  return el(
    "div",
    {
      class: `legend-item ${roleClass(role)}${off ? " off" : ""}${at >= 0 ? " current" : ""}`,
      "data-role": role,
    },
    el(
      "button",
      {
        type: "button",
        class: "legend-toggle",
        "aria-pressed": String(!off),
        title: `${ROLES[role][1]}; click to ${off ? "show" : "fade"}`,
        onclick: () => app.toggleRole(role),
      },
      el("span", { class: "swatch", "aria-hidden": "true" }),
      el(
        "span",
        { class: "legend-name" },
        role === "time_injection" ? "time" : wordFor(role, 0),
      ),
    ),
    at < 0 ? null : step(app, role, -1),
    el("span", { class: "legend-count", "aria-label": `${roleLabel(role)}: ${many}` }, many),
    step(app, role, 1),
  );
}

// The same on a phone: one kind at a time.
function picker(app, present) {
  const kept = app.state.current.role;
  const now = present.includes(kept) ? kept : present[0];
  return el(
    "div",
    { class: "legend-picker" },
    step(app, now, -1),
    el(
      "select",
      {
        "aria-label": "Which places to step through",
        onchange: (event) => app.state.set({ role: event.target.value }, true),
      },
      present.map((role) =>
        el(
          "option",
          { value: role, selected: role === now },
          `${roleLabel(role)} (${placesOf(app.atlas, role).length})`,
        ),
      ),
    ),
    step(app, now, 1),
  );
}
