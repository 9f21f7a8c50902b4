// Two small drawings: one attention, and the way of the time. Exported like the map.

import { svg } from "./dom.js";
import { shapeOf } from "./nodes.js";
import { doorOf } from "./roles.js";

function box(x, y, width, title, detail, kind, app, node = null) {
  const group = svg(
    "g",
    { class: `fig-box ${kind}`, transform: `translate(${x} ${y})` },
    svg("rect", { width, height: 44, rx: 8 }),
    svg("text", { class: "name", x: width / 2, y: 19, "text-anchor": "middle" }, title),
    svg("text", { class: "cost", x: width / 2, y: 34, "text-anchor": "middle" }, detail),
  );
  if (node !== null && node !== undefined) {
    group.classList.add("item");
    group.setAttribute("role", "button");
    group.setAttribute("tabindex", "0");
    group.setAttribute("aria-label", `${title}: ${app.atlas.nodes[node].path}`);
    group.dataset.node = node;
    const go = () => app.go(node);
    group.addEventListener("click", go);
    group.addEventListener(
      "keydown",
      (event) =>
        (event.key === "Enter" || event.key === " ") && (event.preventDefault(), go()),
    );
  }
  return group;
}

function arrow(d, kind) {
  return svg("path", { class: `fig-arrow ${kind}`, d, "marker-end": `url(#fig-${kind})` });
}

function markers() {
  return svg(
    "defs",
    {},
    ["image", "time", "text", "prompt"].map((kind) =>
      svg(
        "marker",
        {
          id: `fig-${kind}`,
          class: `head ${kind}`,
          viewBox: "0 0 8 8",
          refX: 7,
          refY: 4,
          markerWidth: 9,
          markerHeight: 9,
          markerUnits: "userSpaceOnUse",
          orient: "auto",
        },
        svg("path", { d: "M0 0 8 4 0 8z" }),
      ),
    ),
  );
}

// What one operand is, what it was made from, and the node that made each.
function operand(app, one, at) {
  const { atlas } = app;
  const value = atlas.values[atlas.nodes[one.node].in[at]];
  const maker = value?.producer ?? null;
  const source =
    maker === null ? undefined : atlas.values[atlas.nodes[maker].in.find((id) => id >= 0)];
  return {
    shape: shapeOf(app, value?.shape),
    maker,
    from: shapeOf(app, source?.shape),
    fromMaker: source?.producer ?? null,
  };
}

// What a second row of tokens is called where its flow does not say it.
const WORDS = { joint_attention: "text + image", image_prompt: "reference image" };

export function attentionFigure(app, one) {
  const { atlas } = app;
  const other = one.role === "joint_attention" ? "image" : (doorOf(one.role) ?? "image");
  const from = WORDS[one.role] ?? other;
  const [q, k, v] = [0, 1, 2].map((at) => operand(app, one, at));
  const heads =
    one.heads === null ? "heads not said" : `${one.heads} heads × ${one.head_dim ?? "?"}`;
  const [reader] = atlas.consumers.get(atlas.nodes[one.node].out[0]) ?? [];
  const root = svg("svg", {
    class: "figure attention",
    viewBox: "0 0 640 214",
    role: "group",
    "aria-label": "Where queries, keys and values come from",
  });
  root.append(
    markers(),
    box(6, 12, 150, "image tokens", q.from, "image", app, q.fromMaker),
    box(6, 122, 150, `${from} tokens`, k.from, other, app, k.fromMaker),
    box(212, 12, 120, "Q", q.shape, "image", app, q.maker),
    box(212, 90, 120, "K", k.shape, other, app, k.maker),
    box(212, 158, 120, "V", v.shape, other, app, v.maker),
    box(392, 70, 110, "attention", heads, one.role, app, one.node),
    box(530, 70, 104, "out", shapeOf(app, one.out), "image", app, reader),
    arrow("M156 34H210", "image"),
    arrow("M156 144C184 144 184 112 210 112", other),
    arrow("M156 144C184 144 184 180 210 180", other),
    arrow("M332 34C366 34 362 84 390 84", "image"),
    arrow("M332 112C366 112 362 94 390 94", other),
    arrow("M332 180C366 180 362 104 390 104", other),
    arrow("M502 92H528", "image"),
  );
  return root;
}

export function timeFigure(app, { input, sinusoid, mlp, vector }) {
  const { atlas } = app;
  const rows = Math.ceil(atlas.injections.length / 12);
  const root = svg("svg", {
    class: "figure time",
    viewBox: `0 0 640 ${104 + rows * 34}`,
    role: "group",
    "aria-label": "From the timestep to every resnet",
  });
  const last = (ids) => (ids.length > 0 ? ids.at(-1) : null);
  root.append(
    markers(),
    box(6, 8, 130, input?.name ?? "time", shapeOf(app, input?.shape), "time", app),
    box(
      182,
      8,
      130,
      "sinusoid",
      sinusoid.length ? shapeOf(app, atlas.outShape(last(sinusoid))) : "not named",
      "time",
      app,
      last(sinusoid),
    ),
    box(
      358,
      8,
      110,
      "MLP",
      mlp.length
        ? `${mlp.filter((id) => atlas.nodes[id].params > 0).length} layers`
        : "not named",
      "time",
      app,
      last(mlp),
    ),
    box(514, 8, 120, "time vector", shapeOf(app, vector), "time", app),
    arrow("M136 30H180", "time"),
    arrow("M312 30H356", "time"),
    arrow("M468 30H512", "time"),
    svg("path", {
      class: "fig-arrow time",
      d: `M574 52V74M31 74H${8 + (Math.min(atlas.injections.length, 12) - 1) * 52.5 + 23}`,
    }),
  );
  atlas.injections.forEach((one, at) => {
    const [x, y] = [8 + (at % 12) * 52.5, 94 + Math.floor(at / 12) * 34];
    const group = box(x, y, 46, "+", "", "time_injection", app, one.nodes.at(-1));
    group.querySelector("rect").setAttribute("height", 26);
    group.querySelector(".name").setAttribute("y", 18);
    group.setAttribute("aria-label", `time injection ${at + 1}: ${one.resnet}`);
    group.append(svg("title", {}, one.resnet));
    root.append(at < 12 ? arrow(`M${x + 23} 74V92`, "time") : "", group);
  });
  return root;
}
