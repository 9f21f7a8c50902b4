"""A measured file: time by module, role and kernel. docs/PROFILE.md describes the JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnxruntime

from exporter.errors import UsageError
from exporter.paths import upwards
from exporter.profile.attribute import attribute, shares
from exporter.profile.run import measure
from exporter.runtime.inlined import load_inlined
from exporter.runtime.providers import Obtained

FORMAT = 1


@dataclass(frozen=True)
class KernelTime:
    """One kernel, and what it computes.

    Attributes:
        name: In ONNX Runtime's optimised graph.
        operator: There, e.g. ``FusedMatMul``.
        microseconds: In one run.
        modules: Paths of the modules whose nodes it replaces.
        roles: Their roles.
        nodes: Names of those nodes, functions inlined.
    """

    name: str
    operator: str
    microseconds: float
    modules: tuple[str, ...]
    roles: tuple[str, ...]
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class ProfileReport:
    """Where one run's time goes.

    Attributes:
        file: The file's name.
        sizes: Of the symbolic dimensions.
        provider: Where it ran.
        runs: How many runs the figures are means of.
        onnxruntime: Version.
        wall: Microseconds of a run, from call to return.
        total: Microseconds in kernels.
        modules: Microseconds of each module's own nodes, submodules left out; the UNet's own
            path is empty.
        roles: Microseconds by role.
        kernels: Every kernel, the longest first.
    """

    file: str
    sizes: Mapping[str, int]
    provider: Obtained
    runs: int
    onnxruntime: str
    wall: float
    total: float
    modules: Mapping[str, float]
    roles: Mapping[str, float]
    kernels: tuple[KernelTime, ...]

    @property
    def attributed(self) -> float:
        """Share of kernel time that has a module, 0 to 1."""
        return sum(self.modules.values()) / self.total

    @property
    def inclusive(self) -> dict[str, float]:
        """Microseconds of each module with all that lies inside it, the longest first."""
        held: dict[str, float] = {}
        for path, time in self.modules.items():
            for around in ("", *upwards(path)):
                held[around] = held.get(around, 0.0) + time
        return dict(sorted(held.items(), key=lambda item: -item[1]))

    def to_json(self) -> dict[str, Any]:
        """As docs/PROFILE.md describes it."""
        return {
            "format": FORMAT,
            **asdict(self),
            "attributed": self.attributed,
            "inclusive": self.inclusive,
        }


def profile(
    path: Path, sizes: Mapping[str, int], provider: Obtained = "cpu", runs: int = 3
) -> ProfileReport:
    """Runs a file of ours under ONNX Runtime's profiler.

    Args:
        path: The ``.onnx``, its weights where it says; its folder must be writable, and have
            room for the weights once more while this runs.
        sizes: Of ``B``, ``H``, ``W``, ``S`` and ``T``.
        provider: Where to run.
        runs: Runs to take the mean of, 1 or more; one more warms up.

    Raises:
        UsageError: It is not a file that ``python -m exporter`` wrote, or cannot be loaded.
        ParityError: ONNX Runtime cannot run it on these sizes.
    """
    if runs < 1:
        raise UsageError(f"--runs {runs}", "1 or more")
    inlined = load_inlined(path, ())
    if not any(origin.role for origin in inlined.origins.values()):
        raise UsageError(f"{path.name} says no roles", "a file that python -m exporter wrote")
    measured = measure(inlined, sizes, provider, runs)
    modules: dict[str, float] = {}
    roles: dict[str, float] = {}
    kernels = []
    replaced = attribute(inlined, measured.kernels)
    for kernel, nodes in zip(measured.kernels, replaced, strict=True):
        placed = [node for node in nodes if node in inlined.origins]
        for node, time in shares(placed, kernel.microseconds):
            origin = inlined.origins[node]
            modules[origin.module] = modules.get(origin.module, 0.0) + time
            roles[origin.role] = roles.get(origin.role, 0.0) + time
        origins = [inlined.origins[node] for node in placed]
        kernels.append(
            KernelTime(
                kernel.name,
                kernel.operator,
                kernel.microseconds,
                tuple(dict.fromkeys(origin.module for origin in origins)),
                tuple(dict.fromkeys(origin.role for origin in origins)),
                tuple(node.name or "" for node in nodes),
            )
        )
    return ProfileReport(
        path.name,
        dict(sizes),
        provider,
        runs,
        onnxruntime.__version__,
        measured.wall,
        measured.total,
        modules,
        dict(sorted(roles.items(), key=lambda item: -item[1])),
        tuple(sorted(kernels, key=lambda kernel: -kernel.microseconds)),
    )
