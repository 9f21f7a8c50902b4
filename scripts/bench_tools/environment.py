"""An environment for each peer, so that none has to live with another's versions."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONSTRAINTS = ROOT / "constraints.txt"
_STAMP = "bench.stamp"
_VERSIONS = """
import importlib.metadata as m, json, sys
print(json.dumps({n: m.version(n) for n in sys.argv[1:]}))
"""


class SetupError(Exception):
    """An environment that cannot be made; says why in pip's words."""


@dataclass(frozen=True)
class Environment:
    """Packages that one or more peers run with.

    Attributes:
        name: Its folder's name; ``project`` is the environment this runs in.
        requirements: What pip is asked for.
        record: Distributions whose versions are recorded.
        constrained: Whether ``constraints.txt`` holds here too, which keeps everything but
            the peer itself at the versions we run with.
    """

    name: str
    requirements: tuple[str, ...]
    record: tuple[str, ...]
    constrained: bool = True

    def bin(self, cache: Path) -> Path:
        """Folder of its executables."""
        if self.name == "project":
            return Path(sys.executable).parent  # not resolved: it is a link out of the venv
        return cache / "environments" / self.name / "bin"

    def prepare(self, cache: Path) -> Path:
        """Makes it unless it is there as described; the folder of its executables.

        Raises:
            SetupError: pip cannot install it.
        """
        folder = self.bin(cache)
        if self.name == "project":
            return folder
        stamp = folder.parent / _STAMP
        if stamp.is_file() and stamp.read_text() == self._digest():
            return folder
        _run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(folder.parent)])
        limits = ["--constraint", str(CONSTRAINTS)] if self.constrained else []
        pip = [sys.executable, "-m", "pip", "--python", str(folder / "python")]
        _run([*pip, "install", "--quiet", *limits, *self.requirements])
        self.versions(cache)  # an environment that lacks a package is made again
        stamp.write_text(self._digest())
        return folder

    def versions(self, cache: Path) -> dict[str, str]:
        """Version of every recorded distribution.

        Raises:
            SetupError: One of them is not installed.
        """
        python = str(self.bin(cache) / "python")
        found: dict[str, str] = json.loads(_run([python, "-c", _VERSIONS, *self.record]))
        return found

    def _digest(self) -> str:
        parts = [*self.requirements, sys.version]
        if self.constrained:
            parts.append(CONSTRAINTS.read_text())
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no output"]
        errors = [line for line in lines if "ERROR" in line]  # pip's; what follows is advice
        raise SetupError((errors[0] if errors else lines[-1]).strip())
    return done.stdout


PROJECT = Environment(
    "project", (), ("torch", "diffusers", "onnx-ir", "onnxscript", "onnxruntime-gpu", "netron")
)
TORCH = Environment(
    "torch",
    ("torch", "diffusers", "transformers", "onnx", "onnxscript"),
    ("torch", "diffusers", "onnxscript"),
)
"""PyTorch's own exporters, with the versions we run with."""
