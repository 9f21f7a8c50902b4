// Weights by range: one tensor at a time, not a whole file of them.

import { now } from "./now.js";

// Netron reads a whole file of weights for one tensor; we give it that tensor alone.
export function lendRanges(node) {
  for (const argument of node.inputs ?? []) {
    for (const value of Array.isArray(argument.value) ? argument.value : []) {
      const tensor = value?.initializer;
      if (tensor?._request && !tensor._request.ranged) {
        const { offset, length } = tensor._request;
        tensor._request = {
          ranged: true,
          offset,
          length,
          location: new Range(tensor._location),
        };
      }
    }
  }
}

class Range {
  constructor(name) {
    this.file = now.atlas.locations.indexOf(name);
  }

  async read(offset, length) {
    if (this.file < 0 || length <= 0) {
      return null;
    }
    const headers = { Range: `bytes=${offset}-${offset + length - 1}` };
    const response = await fetch(`../data/${this.file}`, { headers });
    if (!response.ok) {
      return null;
    }
    const { BinaryStream } = await import(new URL("base.js", window.location.href).href);
    return new BinaryStream(new Uint8Array(await response.arrayBuffer()));
  }
}
