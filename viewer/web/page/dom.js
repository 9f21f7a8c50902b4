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

// The head of a table: a cell a column.
export function heads(names) {
  return el(
    "thead",
    {},
    el(
      "tr",
      {},
      names.map((name) => el("th", { scope: "col" }, name)),
    ),
  );
}

export function swap(host, ...children) {
  host.replaceChildren(...children.flat(3).filter(Boolean));
}

// Draws something again and gives the focus back to what had it.
export function redraw(host, draw) {
  const held = host.contains(document.activeElement) ? document.activeElement : null;
  const name = (one) =>
    one.dataset.axis ?? one.dataset.field ?? one.getAttribute("aria-label") ?? one.textContent;
  swap(host, draw());
  if (held && held !== host) {
    const fits = (one) => one.tagName === held.tagName && name(one) === name(held);
    const again = [...host.querySelectorAll("button, input, select")].find(fits);
    again?.focus({ preventScroll: true });
  }
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
