// The border between the map and the inside, moved by hand or by key.

import { recall, remember } from "./dom.js";

export function splitting(splitter, start) {
  let at = 0;
  const split = (percent) => {
    at = Math.min(75, Math.max(25, percent));
    document.documentElement.style.setProperty("--left", `${at}%`);
    splitter.setAttribute("aria-valuenow", String(Math.round(at)));
  };
  const done = () => {
    remember("split", String(at));
    document.body.classList.remove("dragging");
  };
  split(Number(recall("split")) || start);
  splitter.addEventListener("pointerdown", (event) => {
    splitter.setPointerCapture(event.pointerId);
    document.body.classList.add("dragging");
  });
  splitter.addEventListener("pointermove", (event) => {
    if (splitter.hasPointerCapture(event.pointerId)) {
      split((100 * event.clientX) / window.innerWidth);
    }
  });
  splitter.addEventListener("pointerup", done);
  splitter.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -2, ArrowRight: 2 }[event.key];
    if (by) {
      event.preventDefault();
      split(at + by);
      done();
    }
  });
}
