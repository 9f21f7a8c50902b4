"""Puts every fault into files of four tiny UNets and tells what the short check makes of it.

``python -m tests.exporter.parity.fault_table docs/PARITY.md`` writes the table there.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import diffusers
import torch
from onnx_ir.passes.common import InlinePass

from exporter.parity.ask import Answer, ask
from exporter.parity.cases import cases_of
from exporter.parity.judge import judge
from exporter.parity.locate import locate
from exporter.parity.report import ParityReport
from exporter.parity.subject import Subject
from exporter.pipeline import export
from exporter.source import load_source
from exporter.types import Dtype, ExportRequest
from tests.exporter.parity.edits import Edit, inject
from tests.exporter.parity.fault_set import FAULTS

TWO_LEVELS: dict[str, Any] = {
    "block_out_channels": [16, 32],
    "norm_num_groups": 4,
    "attention_head_dim": 2,
    "cross_attention_dim": 16,
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "tiny": ("tiny", {}),
    "xl": ("tiny-xl", {}),
    "lcm": ("tiny", {**TWO_LEVELS, "num_class_embeds": 10, "time_cond_proj_dim": 12}),
    "paint": ("tiny", {**TWO_LEVELS, "in_channels": 9}),
}
BEGIN, END = "<!-- faults -->\n", "<!-- end of faults -->\n"


@dataclass
class Proven:
    """A right file, and what PyTorch says to the exporter's own cases; made when needed."""

    folder: Path
    model: str
    dtype: Dtype = "fp32"

    @cached_property
    def subject(self) -> Subject:
        preset, changes = MODELS[self.model]
        file = resources.files("exporter") / "presets" / f"{preset}.json"
        config = {**json.loads(file.read_text()), **changes}
        torch.manual_seed(0)
        unet: Any = getattr(diffusers, config["_class_name"]).from_config(config)
        unet.save_pretrained(self.folder / self.model / "unet")
        source = load_source(str(self.folder / self.model))
        return Subject(source, self.dtype, provider="cpu")

    @cached_property
    def file(self) -> Path:
        model = str((self.folder / self.model).resolve())
        assert self.subject  # saves the weights
        target = self.folder / f"{self.model}-{self.dtype}.onnx"
        export(
            ExportRequest(target, model=model, weights="copy", check=False, dtype=self.dtype)
        )
        return target

    @cached_property
    def answers(self) -> tuple[Answer, ...]:
        return ask(self.subject, cases_of(self.subject.source))

    def edited(self, edit: Edit, *, flat: bool = False) -> Path:
        """The file with an edit, folded or inlined; overwritten by the next."""

        def change(model: Any) -> None:
            edit(model)
            if flat:
                InlinePass()(model)

        return inject(self.file, self.file.with_name(f"edited-{self.file.name}"), change)

    def judged(self, edit: Edit, *, flat: bool = False) -> ParityReport:
        return judge(self.edited(edit, flat=flat), self.subject, self.answers)


def rows(folder: Path) -> Iterator[str]:
    """A line of Markdown for each fault."""
    proven = {(m, d): Proven(folder, m, d) for m in MODELS for d in ("fp32", "fp16")}
    for name, fault in FAULTS.items():
        report = proven[fault.model, "fp32"].judged(fault.edit)
        flat = proven[fault.model, "fp32"].judged(fault.edit, flat=True)
        path = proven[fault.model, "fp32"].edited(fault.edit)
        subject = proven[fault.model, "fp32"].subject
        found = locate(path, subject, report.to_search).finding
        half = "-"
        if fault.halves:
            half = _caught(proven[fault.model, "fp16"].judged(fault.edit))
        said = f"`{found.module or 'the UNet'}`, {found.operator}" if found else ""
        cells = (name, fault.model, _caught(report), _caught(flat), half, said)
        yield f"| {' | '.join(cells)} |"


def _caught(report: ParityReport) -> str:
    """The farthest case, and how far it is from its limit."""
    if not report.failed:
        return "**not caught**"
    count = sum(not result.passed for result in report.cases)
    worst = report.worst
    if worst.failure or worst.floor is None:
        return f"{count}: {worst.failure.split(':')[0][:40]}"
    return f"{count}: {max(worst.floor.ratio, worst.floor.max_ratio):.3g}"


def main() -> None:
    """Writes the table into a document, between its two marks."""
    document = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        lines = []
        for line in rows(Path(folder)):
            print(line, flush=True)  # noqa: T201
            lines.append(line)
    head = (
        "| fault | UNet | folded | flat | fp16 | module named |\n|---|---|---|---|---|---|\n"
    )
    before, _, rest = document.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    text = before + BEGIN + head + "\n".join(lines) + "\n" + END + after
    document.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
