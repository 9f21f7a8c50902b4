// Where Netron's pane stands: the whole graph, or the node that is asked for.

import { now } from "./now.js";

const SMALLEST = 0.5;
const HOPELESS = 0.15;

// A graph that was not visited before is shown whole, as far as its text stays readable; beyond
// that its width is, so that nothing is cut off at the side.
export function fit(state) {
  const canvas = document.getElementById("canvas");
  const host = document.getElementById("target");
  const box = canvas?.viewBox?.baseVal;
  if (state || !now.view.target || !box?.width || !("zoom" in now.view.target)) {
    return;
  }
  const wide = host.clientWidth / (box.width + 16);
  const scale = Math.min(wide, host.clientHeight / box.height);
  if (wide < HOPELESS) {
    return;
  }
  now.view.target.zoom = Math.min(1, Math.max(scale, Math.min(wide, SMALLEST)));
  host.scrollTo({
    left: (host.scrollWidth - host.clientWidth) / 2,
    top: 0,
    behavior: "instant",
  });
}

export function settle() {
  const node = now.wanted && [...now.members].find(([, id]) => id === now.wanted.select)?.[0];
  now.wanted = null;
  const target = now.view.target;
  if (target && typeof target.select === "function") {
    const elements = target.select(node ? [node] : null);
    if (node && elements) {
      target.scrollTo(elements, "instant");
    }
  }
}
