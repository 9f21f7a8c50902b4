// What is seen of one step: the image, or for a sweep the time embedding.

import { el } from "../page/dom.js";
import { scaleBar } from "./curves.js";
import { paint, paintLatents, Scale } from "./heat.js";

// The picture of this step: decoded, or latents as colours.
export async function image(recording, step) {
  const canvas = el("canvas", { class: "picture", role: "img" });
  return captioned(canvas, await paintStep(canvas, recording, step));
}

// Paints the picture of a step; resolves to a sentence that says what it is.
export async function paintStep(canvas, { tensors }, step) {
  if (tensors.has("preview")) {
    const [, height, width] = tensors.shape("preview");
    const pixels = await tensors.read("preview", step);
    paint(canvas, width, height, (x, y) =>
      [0, 1, 2].map((channel) => pixels[3 * (y * width + x) + channel]),
    );
    return "Decoded preview of this step";
  }
  const clean = tensors.has("clean");
  const name = clean ? "clean" : "latents";
  const size = tensors.shape(name).slice(1);
  paintLatents(canvas, await tensors.read(name, clean ? step : step + 1), size);
  return clean
    ? "The image the scheduler expects: three latent channels as colours"
    : "Latents after this step: three channels as colours";
}

// The vector that every resnet receives, over all timesteps, and its likeness to itself.
export async function embedding({ tensors, steps }, step) {
  if (!tensors.has("temb")) {
    return null;
  }
  const [, rows, width] = tensors.shape("temb");
  const vectors = await tensors.read("temb");
  const at = (time, channel) => vectors[(time * rows + rows - 1) * width + channel];
  const scale = new Scale(vectors, "signed");
  const likeness = Float32Array.from({ length: steps * steps }, (_, pair) =>
    cosine(at, Math.floor(pair / steps), pair % steps, width),
  );
  const alike = new Scale(likeness);
  const now = () => {
    const mark = el("div", { class: "matrix-now" });
    mark.style.left = `${(100 * step) / steps}%`;
    mark.style.width = `${100 / steps}%`;
    return mark;
  };
  return [
    captioned(
      el(
        "div",
        { class: "stack" },
        paint(el("canvas", { class: "picture wide" }), steps, width, (x, y) =>
          scale.colour(at(x, y)),
        ),
        now(),
      ),
      `Time embedding: ${width} channels downwards, t to the right`,
    ),
    captioned(
      el(
        "div",
        { class: "stack" },
        paint(el("canvas", { class: "picture wide" }), steps, steps, (x, y) =>
          alike.colour(likeness[y * steps + x]),
        ),
        now(),
      ),
      "Cosine between the embeddings of any two times",
    ),
    scaleBar(alike),
  ];
}

function cosine(at, one, other, width) {
  let [dot, a, b] = [0, 0, 0];
  for (let channel = 0; channel < width; channel += 1) {
    const [x, y] = [at(one, channel), at(other, channel)];
    dot += x * y;
    a += x * x;
    b += y * y;
  }
  return dot / Math.sqrt(Math.max(a * b, 1e-30));
}

function captioned(picture, text) {
  picture.setAttribute("aria-label", text);
  return el("figure", { class: "pictured" }, picture, el("figcaption", {}, text));
}
