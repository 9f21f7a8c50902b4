// The model at a size of one's choice: shapes, FLOPs and memory. As viewer/model/sizes.py and
// flows.py count at the model's own size.

import { dimension } from "./numbers.js";

export function number(dim, nominal) {
  const found = dimension(dim, nominal);
  return typeof found === "number" ? found : null;
}

// A shape as numbers; null when any dimension is unknown.
export function numbersOf(shape, nominal) {
  const found = shape?.map((dim) => number(dim, nominal));
  return found && !found.includes(null) ? found : null;
}

export function elements(shape) {
  return shape ? shape.reduce((product, dim) => product * dim, 1) : null;
}

const WORDS = (text) => new Set(text.split(/\s+/));
const PER_ELEMENT = WORDS(
  "Add Sub Mul Div Pow Sqrt Sigmoid Tanh Relu Exp Cos Sin Erf Neg Clip Where BiasAdd",
);
const FIVE_PER_ELEMENT = WORDS(
  "GroupNormalization InstanceNormalization LayerNormalization RMSNormalization BatchNormalization Softmax LogSoftmax Gelu Swish HardSwish Mish GroupNorm SkipGroupNorm SkipLayerNormalization BiasSplitGelu QuickGelu",
);
const FREE = WORDS(
  "Cast Concat Constant ConstantOfShape Expand Flatten Gather Identity Pad Range Reshape Resize Shape Size Slice Split Squeeze Transpose Unsqueeze",
);
const conv = ([, weight], out) => 2 * elements(out) * elements(weight.slice(1));
const attention = ([query, key]) => {
  if (query.length < 3 || key.length < 3) {
    return null;
  }
  const channels = query.at(-1) * (query.length === 4 ? query[1] : 1);
  return 4 * query[0] * query.at(-2) * key.at(-2) * channels;
};
const COUNTERS = {
  Conv: conv,
  NhwcConv: conv,
  ConvTranspose: ([input, weight]) => 2 * elements(input) * elements(weight.slice(1)),
  MatMul: ([input], out) => 2 * elements(out) * (input.at(-1) ?? 1),
  Gemm: ([input], out, attributes) =>
    2 * elements(out) * (input.length === 2 ? input[attributes.transA ? 0 : 1] : 1),
  Attention: attention,
  MultiHeadAttention: attention,
};

// Floating-point operations of one operator; null when it or a shape it needs is unknown.
export function flops(op, inputs, outputs, attributes = {}) {
  if (FREE.has(op)) {
    return 0;
  }
  const [out] = outputs;
  if (!out) {
    return null;
  }
  if (PER_ELEMENT.has(op)) {
    return elements(out);
  }
  if (FIVE_PER_ELEMENT.has(op)) {
    return 5 * elements(out);
  }
  if (!Object.hasOwn(COUNTERS, op) || inputs.slice(0, 2).some((shape) => !shape)) {
    return null;
  }
  return COUNTERS[op](inputs, out, attributes);
}

function operands(atlas, node, nominal) {
  const weights = node.weights[Symbol.iterator]();
  return node.in.map((id) => {
    if (id >= 0) {
      return numbersOf(atlas.values[id].shape, nominal);
    }
    return id === -1 ? (weights.next().value?.[1] ?? null) : null;
  });
}

// Counts every operator at a size and sums up the hierarchy; what is unknown is counted too.
export function count(atlas, nominal) {
  for (const node of [...atlas.nodes].reverse()) {
    if (node.kind === "op") {
      const plain = ["", "com.microsoft"].includes(node.domain ?? "");
      const outputs = node.out.map((id) => numbersOf(atlas.values[id].shape, nominal));
      const found = plain
        ? flops(node.op, operands(atlas, node, nominal), outputs, node.attributes)
        : null;
      node.flops = found ?? 0;
      node.uncounted = found === null ? 1 : 0;
    } else {
      node.flops = sum(node.children, (id) => atlas.nodes[id].flops);
      node.uncounted = sum(node.children, (id) => atlas.nodes[id].uncounted);
    }
  }
  for (const block of atlas.blocks) {
    block.flops = sum(block.nodes, (id) => atlas.nodes[id].flops);
    block.uncounted = sum(block.nodes, (id) => atlas.nodes[id].uncounted);
    block.weighed = atlas.params > 0;
  }
  atlas.nominal = nominal;
  atlas.weighed = atlas.params > 0;
  atlas.flops = sum(atlas.top, (id) => atlas.nodes[id].flops);
  atlas.uncounted = sum(atlas.top, (id) => atlas.nodes[id].uncounted);
}

function sum(ids, of) {
  return ids.reduce((total, id) => total + (of(id) ?? 0), 0);
}

const BYTES = { DOUBLE: 8, INT64: 8, FLOAT: 4, INT32: 4, FLOAT16: 2, BFLOAT16: 2 };
const VIEWS = WORDS("Reshape Squeeze Unsqueeze Flatten Identity");

// Bytes of the weights, and of the values that are alive at the busiest operator when each is
// freed after its last use; an attention's scores are counted there too. null: not known.
export function memory(atlas) {
  const ops = atlas.nodes.filter((node) => node.kind === "op");
  const root = atlas.values.map((value) => value.id);
  const last = new Map();
  ops.forEach((node, at) => {
    for (const id of node.in) {
      if (id >= 0) {
        last.set(root[id], at);
      }
    }
    if (VIEWS.has(node.op) && node.in[0] >= 0 && node.out.length === 1) {
      root[node.out[0]] = root[node.in[0]];
    }
  });
  atlas.outputs.forEach((id) => last.set(root[id], ops.length));
  const size = (id) => {
    const { shape, dtype } = atlas.values[id];
    const found = elements(numbersOf(shape, atlas.nominal));
    return found === null ? null : found * (BYTES[dtype] ?? 4);
  };
  const ending = new Map();
  last.forEach((at, id) => ending.set(at, [...(ending.get(at) ?? []), id]));
  let alive = sum(atlas.inputs, size);
  let unknown = atlas.inputs.filter((id) => size(id) === null).length;
  let [peak, busiest] = [alive, null];
  ops.forEach((node, at) => {
    const made = node.out.filter((id) => root[id] === id);
    unknown += made.filter((id) => size(id) === null).length;
    alive += sum(made, size);
    const now = alive + scores(atlas, node);
    if (now > peak) {
      [peak, busiest] = [now, node.id];
    }
    const unread = made.filter((id) => !last.has(id));
    alive -= sum([...(ending.get(at) ?? []), ...unread], size);
  });
  return { weights: weightBytes(atlas), values: peak, busiest, unknown };
}

function scores(atlas, node) {
  const one = atlas.attentions.find((other) => other.node === node.id);
  const [query, key] = (one?.operands ?? []).map((shape) => numbersOf(shape, atlas.nominal));
  if (!query || !key || one.heads === null) {
    return 0;
  }
  const dtype = atlas.values[node.out[0]]?.dtype;
  return query[0] * one.heads * query.at(-2) * key.at(-2) * (BYTES[dtype] ?? 4);
}

function weightBytes(atlas) {
  if (Number.isFinite(atlas.weights.bytes)) {
    return atlas.weights.bytes;
  }
  const seen = new Map();
  for (const node of atlas.nodes) {
    for (const [name, shape, dtype, file, offset, length] of node.weights) {
      const bytes = length || elements(shape) * (BYTES[dtype] ?? 4);
      seen.set(file < 0 ? name : `${file}:${offset}`, bytes);
    }
  }
  return seen.size > 0 ? [...seen.values()].reduce((a, b) => a + b, 0) : null;
}

// The operators that change a resolution.
const FIRST = WORDS("Conv AveragePool MaxPool Resize Upsample ConvTranspose NhwcConv");

// The shape that a block works at: of its last resnet, before the resolution changes.
export function workShape(atlas, block) {
  const resnets = block.parts.filter((part) => part.role === "resnet").reverse();
  const shapes = resnets.map((part) => atlas.outShape(part.node));
  return shapes.find((shape) => shape?.length === 4) ?? block.shape;
}

// What a change of resolution does at the size that is chosen; null for other pieces.
export function resized(atlas, part) {
  if (part.role !== "downsample" && part.role !== "upsample") {
    return null;
  }
  const side = (id) => {
    const shape = id >= 0 ? numbersOf(atlas.values[id].shape, atlas.nominal) : null;
    return shape?.length === 4 ? shape.slice(2) : null;
  };
  const steps = atlas
    .inside(part.node)
    .filter((id) => atlas.nodes[id].kind === "op" && FIRST.has(atlas.nodes[id].op))
    .map((id) => [side(atlas.nodes[id].in[0]), side(atlas.nodes[id].out[0])])
    .filter(([before, after]) => before && after);
  const [from, to] = steps.find(([before, after]) => `${before}` !== `${after}`) ?? [];
  if (!from) {
    return null;
  }
  const plain = from.map((one) => (part.role === "downsample" ? one / 2 : one * 2));
  const odd = plain.some((one, at) => one !== to[at]);
  const note = odd ? `to ${to.join("×")}` : "";
  return { role: part.role, node: part.node, from, to, plain, odd, note };
}

// The size of the image at a level, as text, and whether a half was rounded up to get there.
export function sideAt(atlas, level, asNumbers) {
  const block = atlas.blocks.find(
    (one) => one.level === level && one.work?.length === 4 && one.kind !== "conv_in",
  );
  const dims = block?.work.slice(2) ?? [];
  const before = 2 ** (level - 1);
  const { height, width } = atlas.nominal;
  const symbolic = dims.some((dim) => typeof dim === "string");
  const odd =
    level > 0 && symbolic && [height, width].some((one) => Math.ceil(one / before) % 2 === 1);
  const shown = dims.map((dim) => (asNumbers ? dimension(dim, atlas.nominal) : dim) ?? "?");
  const text = dims.length > 0 ? shown.join("×") : "size not said";
  return { text, odd, size: numbersOf(dims, atlas.nominal) };
}

// Which axes of the inputs are free: only those can be chosen.
export function freeAxes(atlas) {
  const dims = atlas.inputs.flatMap((id) => atlas.values[id].shape ?? []);
  const free = (...names) => dims.some((dim) => names.includes(`${dim}`.toLowerCase()));
  return {
    batch: free("b", "batch", "batch_size"),
    height: free("h", "height"),
    width: free("w", "width"),
    tokens: free("s", "sequence"),
  };
}
