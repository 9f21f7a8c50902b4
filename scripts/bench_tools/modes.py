"""The ways to run one denoising step that ``scripts/bench gpu`` compares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Mode:
    """One way.

    Attributes:
        name: What ``--only`` takes.
        engine: PyTorch as it comes, ``torch.compile``, or ONNX Runtime on the exported file.
        dtype: Of weights and activations.
        tf32: Whether fp32 products may be rounded to TF32.
        binding: Whether inputs and outputs stay on the device between steps.
        graphs: Whether the whole step is recorded and replayed as one CUDA graph.
    """

    name: str
    engine: Literal["eager", "compile", "ort"]
    dtype: Literal["fp32", "fp16"] = "fp32"
    tf32: bool = False
    binding: bool = True
    graphs: bool = False

    @property
    def anywhere(self) -> bool:
        """Whether it means something without CUDA."""
        return self.dtype == "fp32" and not self.tf32 and not self.graphs


MODES = (
    Mode("eager-fp32", "eager"),
    Mode("eager-tf32", "eager", tf32=True),
    Mode("eager-fp16", "eager", "fp16"),
    Mode("compile-fp32", "compile"),
    Mode("compile-fp16", "compile", "fp16"),
    Mode("compile-fp16-graphs", "compile", "fp16", graphs=True),
    Mode("ort-fp32-copying", "ort", binding=False),
    Mode("ort-fp32", "ort"),
    Mode("ort-fp32-graphs", "ort", graphs=True),
    Mode("ort-tf32", "ort", tf32=True),
    Mode("ort-tf32-graphs", "ort", tf32=True, graphs=True),
    Mode("ort-fp16-copying", "ort", "fp16", binding=False),
    Mode("ort-fp16", "ort", "fp16"),
    Mode("ort-fp16-graphs", "ort", "fp16", graphs=True),
)
"""The first one is what the others are compared with, in time and in values."""
