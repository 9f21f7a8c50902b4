// Netron's page in our theme, and its graph as a figure that stands alone.

// Netron follows the system's colours; the page around it may have chosen otherwise.
export function applyTheme(dark) {
  for (const sheet of document.styleSheets) {
    for (const rule of sheet.cssRules) {
      if (
        rule instanceof CSSMediaRule &&
        (rule.atlas || rule.media.mediaText.includes("prefers-color-scheme"))
      ) {
        rule.atlas = true;
        rule.media.mediaText = dark ? "all" : "not all";
      }
    }
  }
  document.documentElement.dataset.theme = dark ? "dark" : "light";
}

const WRITTEN = [
  "fill",
  "stroke",
  "stroke-width",
  "stroke-dasharray",
  "opacity",
  "font-family",
  "font-size",
  "font-weight",
  "marker-end",
];

// The graph as a figure of its own: every style that counts is written into it.
export function figure() {
  const canvas = document.getElementById("canvas");
  const origin = document.getElementById("origin");
  const box = origin.getBBox();
  const copy = canvas.cloneNode(true);
  const [from, to] = [
    [canvas, ...canvas.querySelectorAll("*")],
    [copy, ...copy.querySelectorAll("*")],
  ];
  from.forEach((element, at) => {
    const style = window.getComputedStyle(element);
    WRITTEN.forEach((name) => to[at].style.setProperty(name, style.getPropertyValue(name)));
  });
  copy.querySelector(".edge-paths-hit-test, #edge-paths-hit-test")?.remove();
  copy.querySelector("#origin").setAttribute("transform", "");
  const margin = 20;
  copy.setAttribute(
    "viewBox",
    `${box.x - margin} ${box.y - margin} ${box.width + 2 * margin} ${box.height + 2 * margin}`,
  );
  copy.querySelector("#background")?.remove();
  const size = {
    width: Math.ceil(box.width + 2 * margin),
    height: Math.ceil(box.height + 2 * margin),
  };
  copy.setAttribute("width", size.width);
  copy.setAttribute("height", size.height);
  return {
    ...size,
    svg: new XMLSerializer().serializeToString(copy),
    background: window.getComputedStyle(document.body).backgroundColor,
  };
}
