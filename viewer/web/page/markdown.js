// Markdown as documentation in a model is written: headings, lists, tables, code, emphasis and
// links, made of elements. Whatever else it holds stays text.

import { el } from "./dom.js";

const INLINE =
  /(\*\*[^*]+\*\*|`[^`]+`|\[(?:[^\]`]|`[^`]*`)+\]\([^()\s]+\)|(?<![\w*])\*[^*\s][^*]*\*)/;

export function markdown(text) {
  const lines = text.replace(/\r\n?/g, "\n").split("\n");
  const made = [];
  let at = 0;
  while (at < lines.length) {
    const [end, element] = block(lines, at);
    if (element) {
      made.push(element);
    }
    at = end;
  }
  return made;
}

// The block that begins at a line: where the next one begins, and its element.
function block(lines, at) {
  const line = lines[at];
  const until = (fits) => {
    let end = at;
    while (end < lines.length && fits(lines[end], end)) {
      end += 1;
    }
    return end;
  };
  const heading = /^(#{1,6})\s+(.*)$/.exec(line);
  if (line.trim() === "") {
    return [at + 1, null];
  }
  if (line.startsWith("```")) {
    const end = until((one, index) => index === at || !one.startsWith("```"));
    const code = lines.slice(at + 1, end).join("\n");
    return [end + 1, el("pre", {}, el("code", {}, code))];
  }
  if (heading) {
    return [at + 1, el(heading[1].length < 3 ? "h3" : "h4", {}, inline(heading[2]))];
  }
  if (/^\s*\|/.test(line)) {
    const end = until((one) => /^\s*\|/.test(one));
    return [end, table(lines.slice(at, end))];
  }
  const item = /^\s*(?:[-*+]|(\d+)[.)])\s+/;
  const first = item.exec(line);
  if (first) {
    const end = until((one) => item.test(one));
    const items = lines
      .slice(at, end)
      .map((one) => el("li", {}, inline(one.replace(item, ""))));
    return [end, el(first[1] ? "ol" : "ul", {}, items)];
  }
  const plain = (one, index) =>
    index === at ||
    (one.trim() !== "" && !item.test(one) && !/^(#{1,6}\s|```|\s*\|)/.test(one));
  const end = until(plain);
  return [end, el("p", {}, inline(lines.slice(at, end).join(" ")))];
}

function table(lines) {
  const cells = (line) =>
    line
      .trim()
      .replace(/^\||\|$/g, "")
      .split("|")
      .map((cell) => cell.trim());
  const rule = (line) => cells(line).every((cell) => /^:?-+:?$/.test(cell));
  const rows = lines.filter((line) => !rule(line)).map(cells);
  const headed = lines.length > 1 && rule(lines[1]);
  const row = (tag, one) =>
    el(
      "tr",
      {},
      one.map((cell) => el(tag, {}, inline(cell))),
    );
  return el(
    "table",
    { class: "shapes" },
    headed ? el("thead", {}, row("th", rows[0])) : null,
    el(
      "tbody",
      {},
      rows.slice(headed ? 1 : 0).map((one) => row("td", one)),
    ),
  );
}

export function inline(text) {
  return text.split(INLINE).map((part) => {
    if (/^\*\*.+\*\*$/.test(part)) {
      return el("strong", {}, inline(part.slice(2, -2)));
    }
    if (/^`.+`$/.test(part)) {
      return el("code", {}, part.slice(1, -1));
    }
    if (/^\*.+\*$/.test(part)) {
      return el("em", {}, part.slice(1, -1));
    }
    const found = /^\[(.+)\]\(([^()\s]+)\)$/.exec(part);
    return found ? anchor(found[1], found[2]) : part;
  });
}

// Only addresses of the web are links, and nothing is asked of them before a click.
function anchor(text, address) {
  let url = null;
  try {
    url = new URL(address);
  } catch {
    return `[${text}](${address})`;
  }
  return url.protocol === "https:" || url.protocol === "http:"
    ? el(
        "a",
        { href: url.href, target: "_blank", rel: "noopener noreferrer", title: url.href },
        inline(text),
      )
    : `[${text}](${address})`;
}
