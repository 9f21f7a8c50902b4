"""From a diffusers UNet to a proven, annotated ONNX graph.

>>> report = exporter.export("unet.onnx", model="tiny")
>>> exporter.check("unet.onnx", model="tiny").passed
True
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from exporter.parity.report import ParityReport
    from exporter.report import ExportReport
    from exporter.types import OnProgress, Provider

__all__ = ["check", "export"]


def export(
    target: str | Path,
    model: str = "sd15",
    *,
    on_progress: OnProgress | None = None,
    **wishes: Any,
) -> ExportReport:
    """Writes one UNet as .onnx and proves that it computes what PyTorch computes.

    Args:
        target: The .onnx to write; its folder exists.
        model: A preset, a hub id, or a diffusers folder.
        on_progress: Told of every stage's progress.
        wishes: Any other field of ``exporter.types.ExportRequest``, e.g. ``dtype="fp16"``,
            ``flat=True`` or ``check=False``.

    Returns:
        What was done: node counts, roles, times, and the proof as ``parity``.

    Raises:
        exporter.errors.AtlasError: Told in one line; ``target`` is as it was before.
        TypeError: There is no such wish.
    """
    from pathlib import Path

    from exporter.pipeline import export as run
    from exporter.types import ExportRequest, quiet

    return run(ExportRequest(Path(target), model, **wishes), on_progress or quiet)


def check(
    file: str | Path,
    model: str,
    *,
    seed: int = 0,
    provider: Provider = "auto",
    on_progress: OnProgress | None = None,
    **wishes: Any,
) -> ParityReport:
    """Runs anyone's .onnx of a UNet in ONNX Runtime against PyTorch.

    Args:
        file: The .onnx, its external data beside it.
        model: What it should equal: a preset, a hub id, or a diffusers folder.
        seed: Of a preset's random weights.
        provider: Where ONNX Runtime runs: ``auto``, ``cpu`` or ``cuda``.
        on_progress: Told after each run of a case.
        wishes: ``cases``, ``tolerance`` and ``floor`` of ``exporter.parity.check.check``.

    Returns:
        The findings. A failed check is a report whose ``passed`` is false, no exception.

    Raises:
        exporter.errors.AtlasError: The file or the model cannot be read, or they do not take
            the same inputs.
    """
    from pathlib import Path

    from exporter.parity.check import check as run
    from exporter.parity.subject import Subject
    from exporter.runtime.contract import read_contract
    from exporter.source import load_source
    from exporter.types import quiet

    contract = read_contract(Path(file))
    source = contract.conditioned(load_source(model, seed=seed))
    contract.require(source)
    subject = Subject(source, contract.dtype, contract.keep_fp32, provider)
    return run(Path(file), subject, on_progress=on_progress or quiet, **wishes)
