// Numbers to colours: one scale for all steps of a quantity. As viewer/replay/scales.py.

const SEQUENTIAL = [
  [68, 1, 84],
  [59, 82, 139],
  [33, 145, 140],
  [94, 201, 98],
  [253, 231, 37],
];
const DIVERGING = [
  [33, 102, 172],
  [146, 197, 222],
  [247, 247, 247],
  [244, 165, 130],
  [178, 24, 43],
];
const MISSING = [128, 128, 128];

export class Scale {
  constructor(values, kind = "linear") {
    this.kind = kind;
    let [low, high] = [Infinity, -Infinity];
    for (const value of values) {
      if (Number.isFinite(value) && (kind !== "log" || value > 0)) {
        low = Math.min(low, value);
        high = Math.max(high, value);
      }
    }
    const most = Math.max(Math.abs(low), Math.abs(high));
    [this.low, this.high] = kind === "signed" ? [-most, most] : [low, high];
  }

  // 0 to 1; NaN where there is no finite number.
  place(value) {
    if (!Number.isFinite(value)) {
      return NaN;
    }
    const turn = this.kind === "log" ? (x) => Math.log(Math.max(x, this.low)) : (x) => x;
    const [low, high] = [turn(this.low), turn(this.high)];
    return high > low ? Math.min(1, Math.max(0, (turn(value) - low) / (high - low))) : 0.5;
  }

  at(part) {
    if (this.kind === "log") {
      return this.low * (this.high / this.low) ** part;
    }
    return this.low + part * (this.high - this.low);
  }

  colour(value) {
    const placed = this.place(value);
    if (Number.isNaN(placed)) {
      return MISSING;
    }
    const stops = this.kind === "signed" ? DIVERGING : SEQUENTIAL;
    const place = placed * (stops.length - 1);
    const left = Math.min(Math.floor(place), stops.length - 2);
    return stops[left].map((from, channel) =>
      Math.round(from + (place - left) * (stops[left + 1][channel] - from)),
    );
  }

  css(value) {
    return `rgb(${this.colour(value).join(" ")})`;
  }

  // Ink that can be read on the colour of a value.
  ink(value) {
    const [r, g, b] = this.colour(value);
    return 0.299 * r + 0.587 * g + 0.114 * b > 140 ? "#10151c" : "#ffffff";
  }
}

// Paints numbers, row by row, one pixel each.
export function paint(canvas, width, height, colourAt) {
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  for (let at = 0; at < width * height; at += 1) {
    const [r, g, b] = colourAt(at % width, Math.floor(at / width));
    image.data.set([r, g, b, 255], 4 * at);
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

// The same for many numbers at once: colours come from a table of 256.
export function paintNumbers(canvas, width, height, numbers, scale) {
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  const table = Array.from({ length: 256 }, (_, at) => scale.colour(scale.at(at / 255)));
  for (let at = 0; at < width * height; at += 1) {
    const placed = scale.place(numbers[at]);
    const [r, g, b] = Number.isNaN(placed) ? MISSING : table[Math.round(255 * placed)];
    image.data[4 * at] = r;
    image.data[4 * at + 1] = g;
    image.data[4 * at + 2] = b;
    image.data[4 * at + 3] = 255;
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

// Paints (channels, h, w) numbers as red, green and blue, from the 1st to the 99th percentile.
export function paintLatents(canvas, numbers, [channels, height, width]) {
  const size = height * width;
  const used = Math.min(3, channels);
  const sorted = Float32Array.from(numbers.subarray(0, used * size))
    .filter(Number.isFinite)
    .sort();
  const low = sorted[Math.floor(0.01 * (sorted.length - 1))] ?? 0;
  const high = sorted[Math.floor(0.99 * (sorted.length - 1))] ?? 1;
  const level = (value) =>
    Math.round(255 * Math.min(1, Math.max(0, (value - low) / Math.max(high - low, 1e-9))));
  return paint(canvas, width, height, (x, y) =>
    [0, 1, 2].map((channel) =>
      level(numbers[Math.min(channel, used - 1) * size + y * width + x]),
    ),
  );
}

export function figures(value) {
  if (!Number.isFinite(value)) {
    return `${value}`;
  }
  return value !== 0 && (Math.abs(value) < 0.01 || Math.abs(value) >= 10000)
    ? value.toExponential(1)
    : `${Number(value.toPrecision(3))}`;
}
