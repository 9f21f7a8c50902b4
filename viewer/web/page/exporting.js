// Any view as an SVG or PNG that stands alone: styles are written into the figure.

const STYLES = [
  "fill",
  "fill-opacity",
  "stroke",
  "stroke-width",
  "stroke-dasharray",
  "stroke-linecap",
  "opacity",
  "font-family",
  "font-size",
  "font-weight",
  "letter-spacing",
  "paint-order",
  "stroke-linejoin",
  "display",
  "text-anchor",
  "dominant-baseline",
];

export function standalone(figure) {
  const copy = figure.cloneNode(true);
  const [from, to] = [
    [figure, ...figure.querySelectorAll("*")],
    [copy, ...copy.querySelectorAll("*")],
  ];
  from.forEach((element, at) => {
    const style = window.getComputedStyle(element);
    STYLES.forEach((name) => to[at].style.setProperty(name, style.getPropertyValue(name)));
    to[at].removeAttribute("tabindex");
  });
  const [, , width, height] = figure.getAttribute("viewBox").split(" ").map(Number);
  copy.setAttribute("width", width);
  copy.setAttribute("height", height);
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  const background = window
    .getComputedStyle(document.documentElement)
    .getPropertyValue("--surface")
    .trim();
  return { svg: new XMLSerializer().serializeToString(copy), background, width, height };
}

// The same figure with a line of ours below it. It stays text: what is parsed under the page's
// policy would lose its styles.
export function stamped(figure, note) {
  if (!note) {
    return figure;
  }
  const [, box] = /viewBox="([^"]*)"/.exec(figure.svg);
  const [left, top, width, height] = box.split(" ").map(Number);
  const [grown, tall] = [height + 20, (figure.height * (height + 20)) / height];
  const place = `x="${left + 8}" y="${top + grown - 6}"`;
  const text = `<text ${place} fill="#b3261e" font-size="12" font-family="sans-serif">${note}</text>`;
  const svg = figure.svg
    .replace(`viewBox="${box}"`, `viewBox="${left} ${top} ${width} ${grown}"`)
    .replace(/ height="[^"]*"/, ` height="${tall}"`)
    .replace(/<\/svg>$/, `${text}</svg>`);
  return { ...figure, svg, height: tall };
}

// The longest side of a PNG: what browsers draw without complaint.
const LONGEST = 8192;

export async function png({ svg, background, width, height }, scale = 2) {
  const factor = Math.min(scale, LONGEST / Math.max(width, height));
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(width * factor);
  canvas.height = Math.round(height * factor);
  const context = canvas.getContext("2d");
  context.fillStyle = background || "#ffffff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => {
    canvas.toBlob(resolve, "image/png");
  });
}

export async function blob(figure, format) {
  return format === "png" ? png(figure) : new Blob([figure.svg], { type: "image/svg+xml" });
}

export function download(name, content) {
  const address = URL.createObjectURL(content);
  const anchor = document.createElement("a");
  anchor.href = address;
  anchor.download = name;
  document.body.append(anchor);
  anchor.click();
  anchor.remove();
  window.setTimeout(() => URL.revokeObjectURL(address), 1000);
}
