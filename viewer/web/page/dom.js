// Elements are made, never parsed: names from a model are text wherever they land.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) {
      continue;
    }
    if (name.startsWith("on")) {
      node.addEventListener(name.slice(2), value);
    } else {
      node.setAttribute(name, value === true ? "" : String(value));
    }
  }
  node.append(
    ...children
      .flat(3)
      .filter((child) => child !== null && child !== undefined && child !== false),
  );
  return node;
}

export function el(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

export function swap(host, ...children) {
  host.replaceChildren(...children.flat(3).filter(Boolean));
}

export function remember(key, value) {
  try {
    window.localStorage.setItem(`atlas-${key}`, value);
  } catch {
    // A page opened from a file may have no storage: the choice then lasts until reload.
  }
}

export function recall(key) {
  try {
    return window.localStorage.getItem(`atlas-${key}`);
  } catch {
    return null;
  }
}

// Markdown as far as our exporter writes it: paragraphs, lists, **bold** and `code`.
export function prose(text) {
  return text.split(/\n{2,}/).map((paragraph) => {
    const lines = paragraph.split("\n");
    if (lines.every((line) => /^\s*[-*] /.test(line))) {
      return el(
        "ul",
        {},
        lines.map((line) => el("li", {}, inline(line.replace(/^\s*[-*] /, "")))),
      );
    }
    return el("p", {}, inline(lines.join(" ").replace(/^#+ /, "")));
  });
}

function inline(text) {
  return text.split(/(\*\*[^*]+\*\*|`[^`]+`)/).map((part) => {
    if (part.startsWith("**") && part.endsWith("**") && part.length > 4) {
      return el("strong", {}, part.slice(2, -2));
    }
    if (part.startsWith("`") && part.endsWith("`") && part.length > 2) {
      return el("code", {}, part.slice(1, -1));
    }
    return part;
  });
}
