// What lies between the arms of the U: skips across it, and the names of its levels.

import { interactive } from "./boxes.js";
import { sideAt } from "./counting.js";
import { svg } from "./dom.js";
import { skipLabel, widthOf } from "./labels.js";

function label(lines, y, kind, plan) {
  const { narrow, alive, lane } = plan.size;
  const width = narrow ? lane - (alive ? 28 : 8) : widthOf(lines);
  const x = (plan.width - width) / 2;
  const middle = plan.size.pill / 2;
  const start = middle + 4 - (lines.length - 1) * 8;
  return {
    x,
    width,
    middle: y + middle,
    parts: [
      svg("rect", { class: `tab ${kind}`, x, y, width, height: plan.size.pill, rx: 9 }),
      lines.map((line, at) =>
        svg(
          "text",
          { class: "tag", x: plan.width / 2, y: y + start + 16 * at, "text-anchor": "middle" },
          line,
        ),
      ),
    ],
  };
}

// Skips leave the right edge of a down block and arrive at the left edge of an up block.
export function drawSkips(atlas, plan, options) {
  const group = svg("g", { class: "skips" });
  const placed = [...plan.pills.values()].filter((one) => one.skip);
  const ends = new Map();
  for (const { skip, ends: [from, to] } of placed) {
    for (const key of [`out${from}`, `in${to}`]) {
      ends.set(key, [...(ends.get(key) ?? []), skip.id]);
    }
  } // prettier-ignore
  const anchor = (key, box, id) => {
    const ids = ends.get(key);
    return box.y + ((ids.indexOf(id) + 1) * box.height) / (ids.length + 1);
  };
  for (const { skip, ends: [from, to], y } of placed) {
    const [a, b] = [plan.boxes.get(from), plan.boxes.get(to)];
    const said = skipLabel(skip, options.numbers ? atlas.nominal : null);
    const phone = plan.size.narrow && !plan.size.alive; // the level above says the size
    const short = phone ? `${skip.shape?.[1] ?? "?"} ch.` : said[1];
    const lines = plan.size.narrow ? [said[0], short] : [said.join(" · ")];
    const tab = label(lines, y, "skip", plan);
    const [y1, y2] = [anchor(`out${from}`, a, skip.id), anchor(`in${to}`, b, skip.id)];
    const path = across([a.x + a.width, y1], tab, [b.x, y2]);
    const arc = svg("g", { class: "skip role-skip", "data-skip": skip.id });
    arc.dataset.sink = skip.sink;
    const name = `${said[0]}: ${atlas.nodes[skip.source].path} to ${atlas.nodes[skip.sink].path}, ${said[1]}`;
    if (options.tell) {
      interactive(arc, `skip:${skip.id}`, name, options);
      arc.addEventListener("mouseenter", () => options.hover(skip.sink, arc));
      arc.addEventListener("mouseleave", () => options.hover(null));
    } else {
      interactive(arc, skip.sink, name, options);
    }
    arc.append(
      svg("path", { class: "hit", d: path }),
      svg("path", { class: "arc", d: path, "marker-end": "url(#head-skip)" }),
      ...tab.parts.flat(),
    );
    group.append(arc);
  } // prettier-ignore
  return group;
}

function across([x1, y1], tab, [x2, y2]) {
  const { x, width, middle } = tab;
  const [left, right] = [(x - x1) * 0.6, (x2 - x - width) * 0.6];
  return (
    `M${x1} ${y1}C${x1 + left} ${y1} ${x - left} ${middle} ${x} ${middle}H${x + width}` +
    `C${x + width + right} ${middle} ${x2 - right} ${y2} ${x2 - 1} ${y2}`
  );
}

export function drawLevels(atlas, plan, options) {
  const group = svg("g", { class: "levels" });
  for (const { level, y, skip } of plan.pills.values()) {
    if (skip || level === null) {
      continue;
    }
    const { text, odd } = sideAt(atlas, level, options.numbers);
    const lines = plan.size.narrow ? [`level ${level}`, text] : [`level ${level} · ${text}`];
    const tab = label(lines, y, "level", plan);
    const one = svg("g", { class: `level${odd ? " odd" : ""}`, "data-level": level });
    interactive(one, `level:${level}`, `level ${level}: ${text}`, options);
    one.append(...tab.parts.flat());
    group.append(one);
  }
  return group;
}
