"""The frozen values that stages hand to one another; no behaviour beyond derivation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import onnx_ir as ir

if TYPE_CHECKING:
    import torch

Dtype = Literal["fp32", "fp16", "bf16"]
Provider = Literal["auto", "cpu", "cuda"]
WeightsMode = Literal["auto", "link", "copy", "packed"]
Optimize = Literal["ort"]
Condition = Literal["controlnet", "adapter"]
Lora = Literal["transformers", "all"]
ImageKind = Literal["plain", "plus"]
Prediction = Literal["epsilon", "v_prediction", "sample"]

DTYPES: Mapping[Dtype, ir.DataType] = {
    "fp32": ir.DataType.FLOAT,
    "fp16": ir.DataType.FLOAT16,
    "bf16": ir.DataType.BFLOAT16,
}
"""ONNX's names: a checkpoint is understood without importing torch."""


@dataclass(frozen=True)
class TensorSpec:
    """One named tensor as the checkpoint stores it.

    Attributes:
        name: Parameter name as in ``state_dict()``, e.g. ``conv_in.weight``.
        dtype: Stored dtype.
        shape: Stored shape.
        file: File that holds the bytes; None for generated weights.
        offset: Absolute byte offset of the data in ``file``.
        nbytes: Length of the data in bytes.
    """

    name: str
    dtype: ir.DataType
    shape: tuple[int, ...]
    file: Path | None = None
    offset: int = 0
    nbytes: int = 0

    def moved(self, old: Path, new: Path) -> TensorSpec:
        """The same tensor, its file below ``new`` as it was below ``old``."""
        return replace(self, file=new / self.file.relative_to(old)) if self.file else self


class Weights(Protocol):
    """Where parameter values come from: a checkpoint on disk, or a seeded generator."""

    @property
    def tensors(self) -> Mapping[str, TensorSpec]:
        """Every tensor by name, in a stable order."""

    @property
    def files(self) -> tuple[Path, ...]:
        """The safetensors files that hold them; none for generated weights."""

    @property
    def seed(self) -> int | None:
        """What they are generated from; None for a checkpoint."""

    @property
    def description(self) -> str:
        """One line for people, e.g. ``random, seed 0`` or ``diffusion_pytorch_model...``."""

    def read(self, name: str) -> torch.Tensor:
        """One tensor in its stored dtype; memory is bounded by that tensor's size."""

    def raw(self, name: str) -> memoryview | None:
        """One tensor's bytes as a file stores them; None where there is no file."""

    def map(self, name: str) -> torch.Tensor:
        """The same as reclaimable pages of its file, where it has one."""


@dataclass(frozen=True)
class InputSpec:
    """One graph input under its conventional diffusers name.

    Attributes:
        name: ``sample``, ``timestep``, ``encoder_hidden_states``, ``text_embeds``,
            ``time_ids``, ``timestep_cond``, ``class_labels``, or a condition's.
        shape: Symbols ``B``, ``H``, ``W``, ``S``, ``T``, halves of a size rounded up such as
            ``H/4``, multiples such as ``8H``, the rank ``R3`` of a module's factors, ``I0``
            images and ``P0`` patches of an IP-Adapter, and static sizes. ``timestep`` is
            ``("T",)``: one for the whole batch, or one each.
        dtype: ``"model"`` follows ``--dtype``; otherwise fixed.
    """

    name: str
    shape: tuple[int | str, ...]
    dtype: Literal["model", "float32", "int64"] = "model"


@dataclass(frozen=True)
class Net:
    """A ControlNet beside a UNet.

    Attributes:
        name: What the user asked for.
        config: Its diffusers config.
        weights: Its parameter values.
    """

    name: str
    config: Mapping[str, Any]
    weights: Weights


@dataclass(frozen=True)
class ImagePrompt:
    """An IP-Adapter within a UNet.

    Attributes:
        name: The file's name.
        kind: ``plain`` reads one embedding for each image, ``plus`` one for each patch.
        width: Channels of an embedding.
        shapes: Of its tensors, by their names in the file.
    """

    name: str
    kind: ImageKind
    width: int
    shapes: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Source:
    """A diffusers UNet before tracing: what it is, where its weights are, what it is fed.

    Attributes:
        name: What the user asked for: a preset, a folder's name or a hub id.
        origin: How ``name`` was resolved; ``file`` is a single-file checkpoint.
        class_name: ``UNet2DConditionModel``, ``UNet2DModel`` or ``ControlNetModel``.
        config: The diffusers config, without private keys other than ``_class_name``.
        weights: The parameter values.
        inputs: Graph inputs in order.
        revision: Hub commit, when there is one.
        size_multiple: Height and width must be multiples of this (1: any size from 8).
        prediction: What the output means to a scheduler; None where nothing tells.
        fused: LoRAs that are baked into the weights, ``FILE=0.8`` each.
        controlnets: ControlNets in the same graph; ``weights`` and ``inputs`` have theirs.
        ip_adapters: IP-Adapters in the same graph; likewise.
        outputs: Names of what it computes: a ControlNet has many.
        lora: Low-rank factors that a file takes besides, and their scale: inputs with a
            default (``exporter.conditions.lora``). Not traced: added to the graph.
    """

    name: str
    origin: Literal["preset", "folder", "hub", "file"]
    class_name: str
    config: Mapping[str, Any]
    weights: Weights
    inputs: tuple[InputSpec, ...]
    revision: str | None = None
    size_multiple: int = 1
    prediction: Prediction | None = None
    lora: tuple[InputSpec, ...] = ()
    fused: tuple[str, ...] = ()
    controlnets: tuple[Net, ...] = ()
    ip_adapters: tuple[ImagePrompt, ...] = ()
    outputs: tuple[str, ...] = ("out_sample",)


@dataclass(frozen=True)
class Program:
    """A traced UNet.

    Attributes:
        exported: The program; its parameters are fake tensors without storage.
        axes: torch's symbol to ours, e.g. ``{"s53": "B", "s30": "H"}``.
        classes: Qualified class of every module by path; the UNet's own path is empty.
        inputs: What the program is fed, in order.
        size_multiple: Divisor of every height and width it takes.
        outputs: Names of what it returns.
    """

    exported: torch.export.ExportedProgram
    axes: Mapping[str, str]
    classes: Mapping[str, str]
    inputs: tuple[InputSpec, ...]
    size_multiple: int
    outputs: tuple[str, ...] = ("out_sample",)


@dataclass(frozen=True)
class StageRecord:
    """One finished step of the pipeline.

    Attributes:
        name: Stage or pass name.
        seconds: Wall time.
        nodes_before: Node count before, for steps that rewrite the graph.
        nodes_after: Node count after.
        note: One short remark for the closing table.
    """

    name: str
    seconds: float
    nodes_before: int | None = None
    nodes_after: int | None = None
    note: str = ""


@dataclass(frozen=True)
class Progress:
    """What core code reports instead of printing.

    Attributes:
        stage: Name of the running stage.
        done: Units done so far.
        total: Units in all; None while unknown.
        unit: ``"B"`` for bytes, else a plural noun such as ``"cases"``.
        record: Set once, when the stage has finished.
    """

    stage: str
    done: float = 0
    total: float | None = None
    unit: str = ""
    record: StageRecord | None = None


OnProgress = Callable[[Progress], None]


def quiet(_: Progress) -> None:
    """An ``OnProgress`` that says nothing."""


@dataclass(frozen=True)
class ExportRequest:
    """All that one export was asked to do; see ``python -m exporter -h``."""

    target: Path
    model: str = "sd15"
    subfolder: str = "unet"
    revision: str | None = None
    variant: str | None = None
    weights: WeightsMode = "auto"
    dtype: Dtype | None = None
    opset: int | None = None
    flat: bool = False
    check: bool = True
    provider: Provider = "auto"
    atol: float | None = None
    rtol: float | None = None
    seed: int = 0
    keep_fp32: tuple[str, ...] = field(default=())
    optimize: Optimize | None = None
    cache: bool = True
    prediction: Prediction | None = None
    conditions: tuple[Condition, ...] = ()
    lora: Lora | None = None
    fuse_lora: tuple[str, ...] = ()
    controlnets: tuple[str, ...] = ()
    ip_adapters: tuple[str, ...] = ()
    guess_mode: bool = False
