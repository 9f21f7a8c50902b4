// What is inside a call as a list: the graph for a keyboard, and for a file without Netron.

import { el } from "./dom.js";
import { compact, share } from "./numbers.js";
import { roleClass, roleLabel } from "./roles.js";
import { shapeOf } from "./nodes.js";

const MOST = 1000;

export function outline(app) {
  const { atlas } = app;
  const scope = app.scope;
  const ids = scope === null ? atlas.top : atlas.nodes[scope].children;
  const lit = app.lit?.nodes;
  return el(
    "ol",
    {
      class: `outline${lit ? " tracing" : ""}`,
      "aria-label": "Nodes in the order of the graph",
    },
    ids.slice(0, MOST).map((id) => {
      const node = atlas.nodes[id];
      const classes = [
        roleClass(node.role),
        id === app.focus ? "selected" : "",
        lit?.has(id) ? "lit" : "",
        app.hidden.has(node.role) ? "off" : "",
      ];
      return el(
        "li",
        { class: classes.join(" "), "data-node": id },
        el(
          "button",
          {
            type: "button",
            "aria-current": id === app.focus ? "true" : null,
            onclick: () => app.go(id, true),
          },
          el("span", { class: "swatch", "aria-hidden": "true" }),
          el(
            "span",
            { class: "outline-name" },
            atlas.segment(id),
            node.children.length > 0
              ? el("span", { class: "inside" }, ` ${node.children.length} inside ›`)
              : null,
          ),
          el(
            "span",
            { class: "outline-kind" },
            [node.op, roleLabel(node.role)].filter(Boolean).join(" · "),
          ),
          el("code", { class: "shape" }, shapeOf(app, atlas.outShape(id))),
          el(
            "span",
            { class: "cost" },
            node.params > 0 ? compact(node.params) : "",
            node.flops > 0 ? ` · ${share(node.flops, atlas.flops)}` : "",
          ),
        ),
      );
    }),
    ids.length > MOST
      ? el("li", { class: "empty" }, `and ${ids.length - MOST} more: search for them by name`)
      : null,
  );
}
