// Which word looks at which pixel: probabilities by step, layer and head, words of one scale.

const SPECIAL = /^<\|.*\|>$/;
const LETTER = /[\p{L}\p{N}]/u;
const KEPT = 96; // fields that stay in memory
const MOST_WORDS = 40;
const SMALL = 48e6; // bytes of maps up to which every one is looked at for the scale
const LOOKED_AT = 5; // steps that are, where there is more

export const ALL = "all";

// The words between the special tokens, each with its tokens: CLIP cuts a long word in pieces.
export function wordsOf(tokens, text) {
  const plain = text.toLowerCase();
  const words = [];
  let at = 0;
  for (const [index, token] of tokens.entries()) {
    if (SPECIAL.test(token)) {
      if (words.length > 0) {
        break; // the end; what follows is padding
      }
      continue;
    }
    const gap = /^\s*/.exec(plain.slice(at))[0].length;
    const found = plain.startsWith(token, at + gap);
    const last = words.at(-1);
    const joined =
      last && found && gap === 0 && LETTER.test(token[0]) && LETTER.test(last.text.at(-1));
    at += found ? gap + token.length : 0;
    if (joined) {
      last.text += token;
      last.tokens.push(index);
    } else {
      words.push({ text: token, tokens: [index] });
    }
  }
  const seen = new Map();
  for (const word of words) {
    const before = seen.get(word.text) ?? 0;
    seen.set(word.text, before + 1);
    word.key = `${word.text} ${before + 1}`; // the second "a" is another word
  }
  return words.slice(0, MOST_WORDS);
}

export class WordMaps {
  constructor(recording) {
    this.recording = recording;
    this.row = recording.rows.length - 1; // the conditional one
    const text = recording.metadata.prompt?.text?.[this.row] ?? "";
    const held =
      recording.maps.length > 0 ? recording.tensors.shape(recording.maps[0].name)[2] : 0;
    this.words = wordsOf(recording.tokens(this.row), `${text}`).filter(({ tokens }) =>
      tokens.every((token) => token < held),
    );
    this.layers = recording.maps.map((layer) => {
      const heads = layer.name.replace(".map.", ".heads.");
      const known = recording.tensors.has(heads);
      return {
        module: `${layer.module}`,
        name: layer.name,
        heads: known ? heads : null,
        count: known ? recording.tensors.shape(heads)[2] : 0,
        size: recording.tensors.shape(layer.name).slice(3),
      };
    });
    this.fields = new Map();
  }

  get any() {
    return this.layers.length > 0 && this.words.length > 0;
  }

  layer(module) {
    return this.layers.find((one) => one.module === module) ?? null;
  }

  // Probabilities of every word at every pixel: of one layer, or the mean of all.
  field(step, module, head) {
    const key = `${step} ${module} ${head ?? ""}`;
    if (!this.fields.has(key)) {
      if (this.fields.size >= KEPT) {
        this.fields.delete(this.fields.keys().next().value);
      }
      const layer = this.layer(module);
      const found = layer ? this.one(step, layer, head) : this.mean(step);
      this.fields.set(key, found);
      found.catch(() => this.fields.delete(key));
    }
    return this.fields.get(key);
  }

  async one(step, layer, head) {
    const [height, width] = layer.size;
    const each = height * width;
    const { tensors, rows, steps } = this.recording;
    const name = head === null || !layer.heads ? layer.name : layer.heads;
    const before = name === layer.heads ? layer.count : 1;
    const tokens = tensors.shape(name).at(-3);
    const kept = Math.floor((step * tensors.shape(name)[0]) / steps); // all, unless condensed
    const first =
      ((kept * rows.length + this.row) * before + (head ?? 0) * (before > 1)) * tokens;
    const last = Math.max(...this.words.flatMap((word) => word.tokens));
    const numbers = await tensors.part(name, first * each, (last + 1) * each);
    const values = this.words.map((word) => {
      const sum = new Float32Array(each);
      for (const token of word.tokens) {
        for (let pixel = 0; pixel < each; pixel += 1) {
          sum[pixel] += numbers[token * each + pixel];
        }
      }
      return sum;
    });
    return { height, width, values };
  }

  async mean(step) {
    const fields = await Promise.all(this.layers.map((layer) => this.one(step, layer, null)));
    const height = Math.max(...fields.map((one) => one.height));
    const width = Math.max(...fields.map((one) => one.width));
    const values = this.words.map((_, word) => {
      const sum = new Float32Array(height * width);
      for (const one of fields) {
        for (let pixel = 0; pixel < sum.length; pixel += 1) {
          const y = Math.floor((Math.floor(pixel / width) * one.height) / height);
          const x = Math.floor(((pixel % width) * one.width) / width);
          sum[pixel] += one.values[word][y * one.width + x] / fields.length;
        }
      }
      return sum;
    });
    return { height, width, values };
  }

  // The largest probability of any word at any pixel, layer, head and step: the common scale.
  async most(done) {
    const { tensors } = this.recording;
    const names = this.layers.flatMap((layer) => [layer.name, layer.heads]).filter(Boolean);
    if (names.length === 0 || this.words.length === 0 || done === 0) {
      return 0;
    }
    const whole = done === this.recording.steps && tensors.nbytes(names) <= SMALL;
    const held = whole ? await tensors.holding(names) : tensors;
    const reader = Object.assign(Object.create(WordMaps.prototype), this, {
      recording: { tensors: held, rows: this.recording.rows, steps: this.recording.steps },
    });
    const count = whole ? done : Math.min(done, LOOKED_AT);
    let most = 0;
    for (let at = 0; at < count; at += 1) {
      const step = Math.floor((at * done) / count);
      for (const layer of this.layers) {
        const heads = whole ? Array.from({ length: layer.count }, (_, head) => head) : [];
        for (const head of [null, ...heads]) {
          for (const sum of (await reader.one(step, layer, head)).values) {
            most = sum.reduce((a, b) => (b > a ? b : a), most);
          }
        }
      }
    }
    return most;
  }
}

// The words of one pixel, the most looked at first, and what is left for the other tokens.
export function inOrder({ width, values }, words, x, y) {
  const found = words.map((word, at) => [word.text, values[at][y * width + x], at]);
  const rest = 1 - found.reduce((sum, [, value]) => sum + value, 0);
  return { found: found.sort((a, b) => b[1] - a[1]), rest: Math.max(0, rest) };
}
