// Words on the map, and how wide they are before they are drawn.

import { shapeText } from "./numbers.js";

const TAG = 11.5; // about the size of a label's letters

// About as wide as our typeface draws it, in which m and w are wide.
export function textWidth(text, font) {
  const wide = text.match(/[mw]/gi)?.length ?? 0;
  return (text.length + 0.3 * wide) * font * 0.6;
}

// The width of a label that holds these lines.
export function widthOf(lines) {
  return Math.max(...lines.map((line) => textWidth(line, TAG))) + 14;
}

// What a skip is called, and what it carries.
export function skipLabel(skip, nominal) {
  return [`skip ${skip.id}`, shapeText(skip.shape?.slice(1), nominal)];
}
