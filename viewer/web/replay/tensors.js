// A safetensors file read by slices: over HTTP ranges, or from bytes that are in the page.

const SIZES = { F32: 4, F16: 2, U8: 1 };

export class Tensors {
  constructor(bytes, start, header) {
    this.bytes = bytes;
    this.start = start;
    this.header = header;
  }

  // `bytes(from, to)` promises that part of the file as an ArrayBuffer.
  static async open(bytes) {
    const length = Number(new DataView(await bytes(0, 8)).getBigUint64(0, true));
    const header = JSON.parse(new TextDecoder().decode(await bytes(8, 8 + length)));
    return new Tensors(bytes, 8 + length, header);
  }

  has(name) {
    return Object.hasOwn(this.header, name) && name !== "__metadata__";
  }

  shape(name) {
    return this.header[name].shape;
  }

  // A number of elements from one on, as numbers.
  async part(name, first, count) {
    const {
      dtype,
      data_offsets: [begin],
    } = this.header[name];
    const from = this.start + begin + first * SIZES[dtype];
    return decode(await this.bytes(from, from + count * SIZES[dtype]), dtype);
  }

  // All of a tensor, or one entry of its first axis.
  async read(name, index = null) {
    const [count, ...rest] = this.shape(name);
    const each = rest.reduce((product, size) => product * size, 1);
    return index === null
      ? this.part(name, 0, count * each)
      : this.part(name, index * each, each);
  }

  // From the first byte of some tensors to the last one.
  span(names) {
    const ends = names.map((name) => this.header[name].data_offsets);
    return [
      this.start + Math.min(...ends.map(([begin]) => begin)),
      this.start + Math.max(...ends.map(([, end]) => end)),
    ];
  }

  nbytes(names) {
    return names.reduce((sum, name) => {
      const [begin, end] = this.header[name].data_offsets;
      return sum + end - begin;
    }, 0);
  }

  // The same file with some tensors fetched at once: many small readings, one request.
  async holding(names) {
    const [from, to] = this.span(names);
    const held = await this.bytes(from, to);
    const near = async (a, b) =>
      a >= from && b <= to ? held.slice(a - from, b - from) : this.bytes(a, b);
    return new Tensors(near, this.start, this.header);
  }

  metadata(prefix) {
    const texts = Object.entries(this.header.__metadata__ ?? {}).filter(([key]) =>
      key.startsWith(prefix),
    );
    return Object.fromEntries(
      texts.map(([key, text]) => [key.slice(prefix.length), JSON.parse(text)]),
    );
  }
}

function decode(buffer, dtype) {
  if (dtype === "U8") {
    return new Uint8Array(buffer);
  }
  return dtype === "F32" ? new Float32Array(buffer) : halves(new Uint16Array(buffer));
}

// IEEE 754 half precision, one table for all 65,536 of them.
let table = null;

function halves(words) {
  table ??= Float32Array.from({ length: 1 << 16 }, (_, word) => half(word));
  return Float32Array.from(words, (word) => table[word]);
}

function half(word) {
  const sign = word & 0x8000 ? -1 : 1;
  const exponent = (word >> 10) & 31;
  const fraction = word & 1023;
  if (exponent === 0) {
    return sign * fraction * 2 ** -24;
  }
  if (exponent === 31) {
    return fraction ? NaN : sign * Infinity;
  }
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

export function overHttp(address) {
  return async (from, to) => {
    if (to <= from) {
      return new ArrayBuffer(0);
    }
    const answer = await fetch(address, { headers: { Range: `bytes=${from}-${to - 1}` } });
    if (answer.status !== 206) {
      throw new Error(`${address}: ${answer.status}`);
    }
    return answer.arrayBuffer();
  };
}

export function inPage(base64) {
  const text = atob(base64.trim());
  const { buffer } = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
  return async (from, to) => buffer.slice(from, to);
}
