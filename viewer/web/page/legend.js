// Colours as a legend that hides, shows and steps: "cross-attention 7 of 16".

import { el } from "./dom.js";
import { ROLES, roleClass, roleLabel, roleLetter } from "./roles.js";

export function legend(app) {
  const { atlas, state } = app;
  const present = Object.keys(ROLES).filter((role) => atlas.roles[role]?.length > 0);
  if (present.length === 0) {
    return [el("p", { class: "empty" }, "No roles in this file.")];
  }
  return present.map((role) => {
    const ids = atlas.roles[role];
    const at = ids.indexOf(app.focus);
    const off = app.hidden.has(role);
    const step = (by) => {
      const next =
        at < 0 ? (by > 0 ? 0 : ids.length - 1) : (at + by + ids.length) % ids.length;
      state.set({ role }, true);
      app.go(ids[next]);
    };
    const label = `${roleLabel(role)}: ${at < 0 ? ids.length : `${at + 1} of ${ids.length}`}`;
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
          title: `${ROLES[role][2]}; click to ${off ? "show" : "fade"}`,
          onclick: () => app.toggleRole(role),
        },
        el("span", { class: "letter", "aria-hidden": "true" }, roleLetter(role)),
        el("span", { class: "legend-name" }, roleLabel(role)),
      ),
      el(
        "button",
        {
          type: "button",
          class: "legend-step",
          "aria-label": `previous ${roleLabel(role)}`,
          onclick: () => step(-1),
        },
        "‹",
      ),
      el(
        "span",
        { class: "legend-count", "aria-label": label },
        at < 0 ? `${ids.length}` : `${at + 1} of ${ids.length}`,
      ),
      el(
        "button",
        {
          type: "button",
          class: "legend-step",
          "aria-label": `next ${roleLabel(role)}`,
          onclick: () => step(1),
        },
        "›",
      ),
    );
  });
}
