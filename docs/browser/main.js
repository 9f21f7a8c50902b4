// Samples text-to-image.onnx with onnxruntime-web: token ids and noise in, an image out.
import * as ort from "onnxruntime-web";

const MODEL = "text-to-image.onnx";
const WEIGHTS = "text-to-image.safetensors";
const LATENTS = { height: 12, width: 12 }; // what `shapes` was trained at

/** Bytes of a file beside this page. */
async function bytes(name) {
  const answer = await fetch(name);
  if (!answer.ok) {
    throw new Error(`${name}: ${answer.status}`);
  }
  return new Uint8Array(await answer.arrayBuffer());
}

/** The session, and the vocabulary of the tokenizer. */
export async function load() {
  const [model, weights, tokenizer] = await Promise.all([
    bytes(MODEL),
    bytes(WEIGHTS),
    fetch("tokenizer.json").then((answer) => answer.json()),
  ]);
  const session = await ort.InferenceSession.create(model, {
    executionProviders: ["wasm"],
    externalData: [{ path: WEIGHTS, data: weights }],
  });
  return { session, vocabulary: tokenizer.model.vocab };
}

/** Token ids of a text in which every word is one token, as in `shapes`. */
export function tokenize(text, vocabulary, length) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const unknown = words.filter((word) => !(`${word}</w>` in vocabulary));
  if (unknown.length) {
    throw new Error(`not a word of this model: ${unknown.join(", ")}`);
  }
  const ids = [
    vocabulary["<|startoftext|>"],
    ...words.map((word) => vocabulary[`${word}</w>`]).slice(0, length - 2),
  ];
  while (ids.length < length) {
    ids.push(vocabulary["<|endoftext|>"]);
  }
  return new ort.Tensor("int64", BigInt64Array.from(ids, BigInt), [1, length]);
}

/** Seeded numbers with a normal distribution. */
export function normal(count, seed) {
  let state = seed >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
  return Float32Array.from(
    { length: count },
    () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()),
  );
}

/** One image: what was fed, and `image`, (1, 3, height, width) from 0 to 1. */
export async function paint({ session, vocabulary }, wish) {
  const shapes = Object.fromEntries(session.inputMetadata.map((one) => [one.name, one.shape]));
  const length = shapes.input_ids[1];
  const size = [1, shapes.latents[1], LATENTS.height, LATENTS.width];
  const scalar = (value) => new ort.Tensor("float32", [value], []);
  const feeds = {
    input_ids: tokenize(wish.prompt, vocabulary, length),
    negative_input_ids: tokenize(wish.negative, vocabulary, length),
    latents: new ort.Tensor(
      "float32",
      normal(
        size.reduce((a, b) => a * b),
        wish.seed,
      ),
      size,
    ),
    guidance_scale: scalar(wish.guidance),
    guidance_rescale: scalar(0),
    num_inference_steps: new ort.Tensor("int64", [BigInt(wish.steps)], []),
  };
  const { image } = await session.run(feeds);
  return { feeds, image };
}

/** Puts an image onto the canvas. */
function show(canvas, image) {
  const [, , height, width] = image.dims;
  const pixels = new ImageData(width, height);
  for (let i = 0; i < height * width; i++) {
    for (let c = 0; c < 3; c++) {
      pixels.data[4 * i + c] = 255 * image.data[c * height * width + i];
    }
    pixels.data[4 * i + 3] = 255;
  }
  [canvas.width, canvas.height] = [width, height];
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

const find = (selector) => document.querySelector(selector);
const status = find("#status");

try {
  const model = await load();
  find("button").disabled = false;
  status.textContent = "Ready";
  find("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    status.textContent = "Painting…";
    const start = performance.now();
    try {
      const made = await paint(model, {
        prompt: find("#prompt").value,
        negative: find("#negative").value,
        steps: Number(find("#steps").value),
        guidance: Number(find("#guidance").value),
        seed: Number(find("#seed").value),
      });
      show(find("canvas"), made.image);
      status.textContent = `Painted in ${((performance.now() - start) / 1000).toFixed(1)} s`;
      globalThis.made = made; // for whoever looks in the console
    } catch (error) {
      status.textContent = error.message;
    }
  });
} catch (error) {
  status.textContent = error.message;
}
