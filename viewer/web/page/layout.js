// Where everything of the map lies; pure arithmetic, so that map, trace and export agree.

export const BOX = { width: 252, height: 76, gap: 26 };
export const WIDTH = 980;
export const TOP = 158;
export const TEXT_X = 20;
export const TIME_X = 44;

export function layout(atlas) {
  const levels = [
    ...new Set(
      atlas.blocks
        .filter((b) => b.kind === "down" || b.kind === "up")
        .map((b) => b.level ?? 0),
    ),
  ];
  levels.sort((a, b) => a - b);
  const sides = { down: [], up: [] };
  const rows = Math.max(levels.length, count(atlas, "down"), count(atlas, "up"));
  const indent = rows > 1 ? Math.min(38, 120 / (rows - 1)) : 0;
  const boxes = new Map();
  atlas.blocks.forEach((block, index) => {
    if (block.kind === "down" || block.kind === "up") {
      sides[block.kind].push(index);
    }
  });
  const place = (index, row, right) => {
    const inset = 74 + row * indent;
    const x = right ? WIDTH - inset - BOX.width : inset;
    boxes.set(index, {
      x,
      y: TOP + row * (BOX.height + BOX.gap),
      width: BOX.width,
      height: BOX.height,
      row,
    });
  };
  sides.down.forEach((index, row) => place(index, row, false));
  sides.up.forEach((index, at) => place(index, sides.up.length - 1 - at, true));
  const bottom = TOP + rows * (BOX.height + BOX.gap);
  atlas.blocks.forEach((block, index) => {
    const small = { width: 176, height: 38, row: -1 };
    if (block.kind === "mid") {
      boxes.set(index, {
        x: (WIDTH - BOX.width) / 2,
        y: bottom,
        width: BOX.width,
        height: BOX.height,
        row: rows,
      });
    } else if (block.kind === "time") {
      boxes.set(index, { ...small, x: TIME_X - 12, y: 50 });
    } else if (block.kind === "text") {
      boxes.set(index, { ...small, x: 260, y: 6 });
    } else if (block.kind === "conv_in") {
      boxes.set(index, { ...small, x: 74 + BOX.width - 176, y: 102 });
    } else if (block.kind === "conv_out") {
      boxes.set(index, { ...small, x: WIDTH - 74 - BOX.width, y: 102 });
    }
  });
  const hasMid = atlas.blocks.some((block) => block.kind === "mid");
  return {
    boxes,
    rows,
    indent,
    bottom,
    width: WIDTH,
    height: bottom + (hasMid ? BOX.height : 0) + 62,
  };
}

function count(atlas, kind) {
  return atlas.blocks.filter((block) => block.kind === kind).length;
}

export function blockOf(atlas, id) {
  const chain = new Set([id, ...atlas.ancestors(id)]);
  const index = atlas.blocks.findIndex((block) => block.nodes.some((node) => chain.has(node)));
  return index < 0 ? null : index;
}
