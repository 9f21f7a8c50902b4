"""Everything the viewer raises on purpose.

ViewerError              exit code 2
├── ModelError           the file cannot be read as an ONNX model
│   └── LocationError    external data that lies outside the model's own files
├── ReportError          a parity report that cannot be read
├── RecordingError       a recording that cannot be read, or lacks what is asked of it
├── SamplingError        a run that cannot be ordered, or is not there
│   └── SamplingBusyError  one is going on already
├── NetronError          Netron's installed pages are missing
├── BrowserError         no Chromium for a headless export, or it did not deliver
└── TargetError          the output cannot be written where it was asked for
"""

from __future__ import annotations

__all__ = [
    "BrowserError",
    "LocationError",
    "ModelError",
    "NetronError",
    "RecordingError",
    "ReportError",
    "SamplingBusyError",
    "SamplingError",
    "TargetError",
    "ViewerError",
]


class ViewerError(Exception):
    """A failure told to the user in one line: what was got, what was expected, what to do.

    Args:
        got: What was found, e.g. ``"unet.onnx is not an ONNX file"``.
        expected: What would have been right; may be empty.
        do: What the user can do about it; may be empty.
    """

    exit_code = 2

    def __init__(self, got: str, expected: str = "", do: str = "") -> None:
        self.got, self.expected, self.do = got, expected, do
        parts = [got, f"expected {expected}" if expected else "", do]
        line = "; ".join(part for part in parts if part)
        super().__init__(" ".join(line.split()))


class ModelError(ViewerError):
    """The file cannot be read as an ONNX model."""


class LocationError(ModelError):
    """External data that lies outside the model's own files."""


class ReportError(ViewerError):
    """A parity report that cannot be read."""


class RecordingError(ViewerError):
    """A recording that cannot be read, or lacks what is asked of it."""


class SamplingError(ViewerError):
    """A run that cannot be ordered, or is not there."""


class SamplingBusyError(SamplingError):
    """A run is going on already."""


class NetronError(ViewerError):
    """Netron's installed pages are missing."""


class BrowserError(ViewerError):
    """No Chromium for a headless export, or it did not deliver."""


class TargetError(ViewerError):
    """The output cannot be written where it was asked for."""


def cause(error: BaseException) -> str:
    """What lies beneath an error, in at most 200 characters of one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split())[:200] or type(error).__name__
