"""What a peer is: how it is run, where, and on what."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench_tools.environment import PROJECT, Environment

ViewerName = Literal["netron", "atlas", "tensorboard", "model_explorer", "graphviz"]


@dataclass(frozen=True)
class Job:
    """One run of one peer.

    Attributes:
        bin: Folder of its environment's executables.
        checkpoint: Folder with ``config.json`` and safetensors.
        source: What the peer it builds on has written; without one, the checkpoint.
        target: File or folder to write.
        report: Where our own exporter says what it did.
    """

    bin: Path
    checkpoint: Path
    source: Path
    target: Path
    report: Path

    def python(self, module: str, *arguments: str | Path) -> list[str]:
        """A command line that runs a module in the peer's environment."""
        return [str(self.bin / "python"), "-m", module, *map(str, arguments)]


@dataclass(frozen=True)
class Peer:
    """One row of the table.

    Attributes:
        name: What ``--only`` takes.
        title: What the table shows.
        command: Command line that writes ``job.target``; None for a mere look at ``source``.
        writes: Name of the file or folder it leaves.
        environment: Where it runs.
        source: Name of the peer whose result it takes; None for the checkpoint.
        beside_checkpoint: Whether ``target`` has to lie above the checkpoint, to link to it.
        runs: Whether ONNX Runtime can open what it writes.
        viewer: What draws it, all but Graphviz in a browser; None where nothing does.
    """

    name: str
    title: str
    command: Callable[[Job], Sequence[str]] | None
    writes: str = "model.onnx"
    environment: Environment = PROJECT
    source: str | None = None
    beside_checkpoint: bool = False
    runs: bool = True
    viewer: ViewerName | None = "netron"
