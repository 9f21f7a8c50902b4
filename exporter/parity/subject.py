"""What is being proven: the UNet that a file should equal, and how the file computes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from exporter.parity.cases import ParityCase
from exporter.parity.inputs import make_inputs
from exporter.runtime.providers import choose
from exporter.torch_dtypes import TORCH_DTYPES
from exporter.types import Dtype, Provider, Source


@dataclass(frozen=True)
class Subject:
    """The subject of a proof.

    Attributes:
        source: The UNet, with its weights.
        dtype: Dtype of the file.
        keep_fp32: Modules of the file that compute in float32 all the same.
        provider: Where ONNX Runtime runs the file.
    """

    source: Source
    dtype: Dtype = "fp32"
    keep_fp32: Sequence[str] = ()
    provider: Provider = "auto"

    @property
    def torch_dtype(self) -> torch.dtype:
        """``dtype`` as torch has it."""
        return TORCH_DTYPES[self.dtype]

    @property
    def device(self) -> str:
        """Where PyTorch runs: on the GPU where ONNX Runtime does and torch can."""
        cuda = choose(self.provider)[0] == "cuda" and torch.cuda.is_available()
        return "cuda" if cuda else "cpu"

    def inputs(self, case: ParityCase) -> dict[str, torch.Tensor]:
        """Every graph input of one case, by name."""
        return make_inputs(case, self.source, self.dtype)
