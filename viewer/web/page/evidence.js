// Answers that need more than the file: a recording, a report, a profile or a second file. Where
// it is not there, the one command that makes it.

import { movedModules } from "./moved.js";
import { flopsShare, flopsWord, percent, plural, share, small } from "./numbers.js";
import { nameOf } from "./storyparts.js";
import { timeOf } from "./timing.js";

const RUN = "python -m";
const HALVES = ["fp16", "bf16"];

// What fp16 loses: the report's list of modules that leave its range, and each module's error.
export function precision(app) {
  const { atlas } = app;
  const { parity, location } = app.shown.report ?? {};
  const dtype = parity?.dtype ?? atlas.weights.dtype ?? "";
  const next = [["Errors by module", () => app.state.set({ tab: "parity" })]];
  if (!parity || !HALVES.includes(dtype)) {
    return { ...unmeasured(atlas, dtype), next };
  }
  const cases = parity.cases ?? [];
  return {
    say: [...lost(dtype, location?.keep_fp32 ?? [], cases), ...departing(location)],
    table: errorTable(app) ?? caseTable(cases),
    need: location ? undefined : located(atlas, "This names the first module that departs:"),
    next,
  };
}

// What a search through all modules has found.
function departing(location) {
  if (!location) {
    return [];
  }
  const { finding, compared } = location;
  return finding
    ? [`The first to depart is ${finding.module}, in its ${finding.operator}.`]
    : [`Module by module, nothing departs in ${plural(compared ?? 0, "comparison")}.`];
}

function caseTable(cases) {
  const rows = cases.map(({ name, errors, floor }) => [
    name,
    off(floor?.ort_max_abs ?? errors?.max_abs),
    off(floor?.max_abs),
  ]);
  return rows.length > 0
    ? { head: ["size", "the file is off by", "PyTorch itself by"], rows }
    : undefined;
}

function off(value) {
  return Number.isFinite(value) ? small(value) : "not said";
}

function unmeasured(atlas, dtype) {
  const stem = atlas.file.replace(/\.onnx$/, "");
  const half = HALVES.includes(dtype);
  return {
    say: [
      `This file is ${dtype || "of unknown type"}${half ? "" : ", so nothing is lost yet"}; what fp16 loses is measured, not guessed.`,
      "fp16 has 11 bits and ends at 65,504: sums over many terms (normalisations, attention scores) lose digits, large activations overflow.",
    ],
    need: half
      ? located(atlas, "No parity report is beside the file. This makes one:")
      : {
          say: `This writes an fp16 file of ${atlas.name} (if that was a folder, --model takes its path), measures what it loses, and opens the page with the report:`,
          run: `${RUN} exporter ${stem}-fp16.onnx --model ${atlas.name} --dtype fp16 --report ${stem}-fp16.report.json && ${RUN} viewer ${stem}-fp16.onnx`,
        },
  };
}

function lost(dtype, keep, cases) {
  const floors = cases.map((one) => one.floor?.ratio).filter(Number.isFinite);
  return [
    keep.length > 0
      ? `${plural(keep.length, "module")} leave the range of ${dtype} and stay in float32: ${keep.join(", ")}.`
      : `No module is reported to leave the range of ${dtype}.`,
    floors.length > 0
      ? `The file is at most ${Number(Math.max(...floors).toPrecision(2))} times as far from the truth as PyTorch in ${dtype} itself.`
      : "The report does not say how far PyTorch itself is.",
  ];
}

function located(atlas, say) {
  const stem = atlas.file.replace(/\.onnx$/, "");
  return {
    say,
    run: `${RUN} exporter.parity ${atlas.file} --model ${atlas.name} --locate --report ${stem}.report.json && ${RUN} viewer ${atlas.file}`,
  };
}

function errorTable(app) {
  const errors = [...app.errors].sort((a, b) => b[1] - a[1]).slice(0, 12);
  const rows = errors.map(([module, error]) => {
    const node = app.atlas.byModule.get(module);
    return [node ? { node: node.id, text: module } : module, small(error)];
  });
  return rows.length > 0 ? { head: ["module", "max |difference|"], rows } : undefined;
}

export function differ(app) {
  if (app.atlases.length < 2) {
    const { file } = app.atlas;
    return {
      say: [
        "One file is open. Two are compared node by node, and weight by weight on request.",
      ],
      need: {
        say: "This opens the page with both; the map is then tinted by how far each weight moved:",
        run: `${RUN} viewer ${file} other.onnx`,
      },
    };
  }
  const { comparison, weights } = app;
  const paths = Object.keys(comparison?.nodes ?? {});
  const say = [
    comparison
      ? paths.length === 0
        ? "Both have the same modules, operators and shapes."
        : `${plural(paths.length, "node")} of ${paths.length + comparison.same} ${paths.length === 1 ? "differs" : "differ"} in structure.`
      : "Comparing…",
  ];
  const next = [["Every difference", () => app.state.set({ tab: "compare" })]];
  if (!weights) {
    if (!app.offline) {
      next.unshift([
        app.weighing ? "Reading both files…" : "Compare the weights too",
        () => app.compareWeights(),
      ]);
    }
    return { say: [...say, "The weights have not been read yet."], next };
  }
  const moved = movedModules(app.atlas, weights);
  const blocks = app.atlas.blocks
    .map((block) => [block, moved.get(block.nodes[0])])
    .filter(([, one]) => one)
    .sort((a, b) => b[1].share - a[1].share);
  say.push(
    `${plural(weights.different.length, "weight")} ${weights.different.length === 1 ? "differs" : "differ"} and ${weights.equal} are equal; all together they moved by ${percent(moved.get(null)?.share)} of their norm.`,
  );
  return {
    say,
    table: {
      head: ["block", "moved", "norm of the change", "norm of A"],
      rows: blocks.map(([block, one]) => [
        { node: block.nodes[0], text: nameOf(app.atlas, block) },
        percent(one.share),
        one.change.toPrecision(3),
        one.norm.toPrecision(3),
      ]),
    },
    next,
  };
}

export function duration(app) {
  const { atlas } = app;
  const profile = app.shown.profile;
  const stem = atlas.file.replace(/\.onnx$/, "");
  const { batch, height, width, tokens } = atlas.nominal;
  const timed = atlas.blocks.map((block) => [block, timeOf(app, block)]);
  if (!profile) {
    const most = [...atlas.blocks].sort((a, b) => b.flops - a.flops)[0];
    return {
      say: [
        "Time is measured, not counted, and no profile of this file is here.",
        most
          ? `By FLOPs alone ${nameOf(atlas, most)} would take the longest (${flopsShare(most.flops, atlas)}), if every FLOP were as fast.`
          : "No blocks were found in this file.",
      ],
      need: {
        say: "This measures it at the size on the page, and opens the page with the map tinted by it:",
        run: `${RUN} exporter.profile ${atlas.file} --case B${batch}H${height}W${width}S${tokens} --report ${stem}.profile.json && ${RUN} viewer ${atlas.file}`,
      },
      next: [["What holds the FLOPs?", () => app.asks("holds")]],
    };
  }
  const sorted = timed.filter(([, time]) => time !== null).sort((a, b) => b[1] - a[1]);
  const sizes = Object.entries(profile.sizes ?? {})
    .map(([letter, size]) => `${letter}=${size}`)
    .join(", ");
  return {
    say: [
      `One step takes ${milliseconds(profile.wall)} on ${profile.provider ?? "an unknown device"}${sizes ? ` at ${sizes}` : ""}, its kernels ${milliseconds(profile.total)}; ${share(profile.attributed, 1)} of that has a module.`,
      sorted.length > 0
        ? `${nameOf(atlas, sorted[0][0])} takes the longest: ${milliseconds(sorted[0][1])}, ${share(sorted[0][1], profile.total)} of the time for ${flopsShare(sorted[0][0].flops, atlas)}.`
        : "None of its modules is in this file.",
    ],
    table: {
      head: ["block", "time", "of the time", `of the ${flopsWord(atlas)}`],
      rows: sorted.map(([block, time]) => [
        { node: block.nodes[0], text: nameOf(atlas, block) },
        milliseconds(time),
        share(time, profile.total),
        share(block.flops, atlas.flops),
      ]),
    },
    next: [["What holds the FLOPs?", () => app.asks("holds")]],
  };
}

function milliseconds(microseconds) {
  return Number.isFinite(microseconds)
    ? `${Number((microseconds / 1000).toPrecision(3))} ms`
    : "unknown";
}
