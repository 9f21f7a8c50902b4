"""Everything this project raises on purpose.

AtlasError                 exit code 2
├── UsageError             arguments that contradict one another
├── SourceError            the model cannot be found, read or understood
│   ├── ConfigError        a config that is not a UNet's, or asks for inputs we do not feed
│   └── CheckpointError    weights missing, extra, misshapen, pickled, truncated or lying
├── TargetError            the output cannot be written where it was asked for
├── GraphError             the traced program cannot become the graph we promise
├── ProviderError          an execution provider that ONNX Runtime cannot really use
└── ParityError            exit code 1: the written file does not compute what PyTorch does
"""

from __future__ import annotations

__all__ = [
    "AtlasError",
    "CheckpointError",
    "ConfigError",
    "GraphError",
    "ParityError",
    "ProviderError",
    "SourceError",
    "TargetError",
    "UsageError",
]


class AtlasError(Exception):
    """A failure told to the user in one line: what was got, what was expected, what to do.

    Args:
        got: What was found, e.g. ``"unet/config.json has _class_name AutoencoderKL"``.
        expected: What would have been right; may be empty.
        do: What the user can do about it; may be empty.
    """

    exit_code = 2

    def __init__(self, got: str, expected: str = "", do: str = "") -> None:
        self.got, self.expected, self.do = got, expected, do
        parts = [got, f"expected {expected}" if expected else "", do]
        super().__init__("; ".join(part for part in parts if part))


class UsageError(AtlasError):
    """Arguments that contradict one another."""


class SourceError(AtlasError):
    """The model cannot be found, read or understood."""


class ConfigError(SourceError):
    """A config that is not a UNet's, or that asks for inputs we do not feed."""


class CheckpointError(SourceError):
    """Weights that are missing, extra, misshapen, pickled, truncated or lying."""


class TargetError(AtlasError):
    """The output cannot be written where it was asked for."""


class GraphError(AtlasError):
    """The traced program cannot become the graph we promise."""


class ProviderError(AtlasError):
    """An execution provider that ONNX Runtime cannot really use."""


class ParityError(AtlasError):
    """The written file does not compute what PyTorch computes."""

    exit_code = 1
