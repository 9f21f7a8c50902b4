// Numbers and shapes as people read them.

const COUNTS = [
  [1e12, "T"],
  [1e9, "B"],
  [1e6, "M"],
  [1e3, "k"],
];
const UNITS = [
  [1e12, "T"],
  [1e9, "G"],
  [1e6, "M"],
  [1e3, "k"],
];

// Parameters are counted in thousands, millions and billions.
export function compact(value, units = COUNTS) {
  for (const [size, unit] of units) {
    if (value >= size) {
      const scaled = value / size;
      return `${scaled.toFixed(scaled < 100 ? 1 : 0)} ${unit}`;
    }
  }
  return `${value}`;
}

export function bytesText(value) {
  const text = compact(value, UNITS);
  return text.includes(" ") ? `${text}B` : `${text} B`;
}

// What is not known is never written as 0.
export function known(value, isKnown, write) {
  return isKnown || value > 0 ? write(value) : "unknown";
}

export function percent(value) {
  return Number.isFinite(value) ? `${(100 * value).toPrecision(2)} %` : "an unknown part";
}

const GROUPS = new Intl.NumberFormat("en-US");

// Every digit, in groups.
export function whole(value) {
  return GROUPS.format(value);
}

export function flopsText(value) {
  const text = compact(value, UNITS);
  return text.includes(" ") ? `${text}FLOPs` : `${text} FLOPs`;
}

export function share(part, all) {
  if (!all) {
    return "–";
  }
  const parts = (100 * part) / all;
  return parts > 0 && parts < 0.1 ? "< 0.1 %" : `${parts.toFixed(1)} %`;
}

// As viewer/sizes.py: H/2 is ceil(H/2), HW/4 is ceil(H/2) * ceil(W/2).
export function dimension(dim, nominal) {
  if (typeof dim === "number") {
    return dim;
  }
  if (!dim) {
    return dim;
  }
  const axes = {
    B: nominal.batch,
    T: nominal.batch,
    H: nominal.height,
    W: nominal.width,
    S: nominal.tokens,
  };
  axes.batch = axes.batch_size = axes.B;
  [axes.height, axes.width, axes.sequence] = [axes.H, axes.W, axes.S];
  let product = 1;
  for (const factor of `${dim}`.replace(/[()\s]/g, "").split("*")) {
    const match = /^([A-Za-z_]\w*|\d+)(?:\/(\d+))?$/.exec(factor);
    if (!match) {
      return dim;
    }
    const divisor = Number(match[2] ?? 1);
    if (/^\d+$/.test(match[1])) {
      product *= Number(match[1]);
    } else if (match[1] === "HW") {
      const side = Math.sqrt(divisor);
      if (side === 0 || !Number.isInteger(side)) {
        return dim;
      }
      product *= Math.ceil(axes.H / side) * Math.ceil(axes.W / side);
    } else if (named(axes, match[1]) !== undefined && divisor > 0) {
      product *= Math.ceil(named(axes, match[1]) / divisor);
    } else {
      return dim;
    }
  }
  return product;
}

function named(axes, symbol) {
  return Object.hasOwn(axes, symbol) ? axes[symbol] : axes[symbol.toLowerCase()];
}

export function shapeText(shape, nominal) {
  if (!shape) {
    return "?";
  }
  if (shape.length === 0) {
    return "scalar";
  }
  return shape.map((dim) => (nominal ? dimension(dim, nominal) : dim) ?? "?").join("×");
}

export function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

export function plural(count, noun) {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

// A count that a file without annotations does not tell, though it may hold such things.
export function told(atlas, count, noun) {
  const sure = count > 0 || "atlas.format" in atlas.metadata;
  return sure ? plural(count, noun) : `an unknown number of ${noun}s`;
}

// The operations of a node or model; a lower bound where some operators are not counted.
export function flopsBound(flops, uncounted) {
  return `${uncounted ? "at least " : ""}${flopsText(flops)}`;
}

// A part of the model's operations: of no more than those counted, where some are not.
export function flopsShare(part, atlas) {
  return `${share(part, atlas.flops)} of the ${flopsWord(atlas)}`;
}

// What such a part is a part of.
export function flopsWord(atlas) {
  return atlas.uncounted > 0 ? "counted FLOPs" : "FLOPs";
}

export function small(value) {
  return value === 0 ? "0" : Number(value).toExponential(1);
}
