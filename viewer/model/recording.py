"""A recording of a sampling or of a sweep (docs/RECORDING.md), read a slice at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from viewer.errors import RecordingError
from viewer.numbers import plain_json

Array = npt.NDArray[Any]

PREFIX = "atlas.recording."
FORMATS = ("1",)

_PAIRS = {
    "residual.share": ("residual.branch", "residual.trunk", "residuals"),
    "injection.share": ("injection.vector", "injection.image", "injections"),
    "skip.share": ("skip.skip", "skip.trunk", "skips"),
}
_PLAIN = {
    "block.rms": "blocks",
    "block.mean": "blocks",
    "block.std": "blocks",
    "block.min": "blocks",
    "block.max": "blocks",
    "injection.vector": "injections",
    "attention.entropy": "attentions",
}
TITLES = {
    "block.rms": "Size of what each block hands on (rms)",
    "block.mean": "Mean of what each block hands on",
    "block.std": "Spread of what each block hands on (standard deviation)",
    "block.min": "Smallest value that each block hands on",
    "block.max": "Largest value that each block hands on",
    "residual.share": "Share that each module adds to the trunk",
    "injection.share": "Share of the time vector where it meets the image",
    "injection.vector": "Size of the time vector of each resnet (rms)",
    "skip.share": "Share of each skip where it meets the trunk",
    "attention.entropy": "Entropy of each cross-attention (nats)",
}


@dataclass(frozen=True)
class Place:
    """Something that a quantity is known of.

    Attributes:
        module: Module path in the UNet.
        role: As in docs/FORMAT.md.
        label: What to call it where paths are too long.
    """

    module: str
    role: str
    label: str


@dataclass(frozen=True)
class Quantity:
    """One number per step, row and place.

    Attributes:
        name: E.g. ``residual.share``.
        title: For people.
        places: What the last axis stands for, in the order of the data.
        values: (N, R, places), float32.
    """

    name: str
    title: str
    places: tuple[Place, ...]
    values: Array


@dataclass(frozen=True)
class Recording:
    """An open recording; nothing but its header has been read.

    Attributes:
        path: The file.
        metadata: Decoded JSON by key, without prefix.
        shapes: Shape of every tensor by name.
    """

    path: Path
    metadata: Mapping[str, Any]
    shapes: Mapping[str, tuple[int, ...]]

    @property
    def kind(self) -> str:
        """``sampling`` or ``sweep``."""
        return str(self.metadata.get("kind", "sampling"))

    @property
    def steps(self) -> int:
        """How many evaluations, or timesteps of a sweep."""
        return self.shapes["timestep"][0]

    @property
    def rows(self) -> tuple[str, ...]:
        """``("uncond", "cond")`` under guidance, else ``("cond",)``."""
        found = tuple(str(row) for row in _list(self._dict("run").get("rows")))
        return found or ("cond",)

    @property
    def title(self) -> str:
        """One line: what ran and how."""
        run, model = self._dict("run"), self._dict("model")
        parts = [str(model.get("name", self.path.stem))]
        if self.kind == "sweep":
            return f"{parts[0]}, {self.steps} timesteps"
        parts += [str(run.get("scheduler_class", "")), f"{self.steps} evaluations"]
        guidance = run.get("guidance")
        if guidance and isinstance(guidance, int | float):
            parts.append(f"guidance {guidance:g}")
        changed = ", ".join(map(experiment, self.listed("experiments")))
        if changed:
            parts.append(f"with {changed}")
        return ", ".join(part for part in parts if part)

    @property
    def note(self) -> str:
        """Where the text came from; says so plainly when there was none."""
        return str(self._dict("prompt").get("note", ""))

    def tokens(self, row: int) -> tuple[str, ...]:
        """What to call each token of a row."""
        rows = _list(self._dict("prompt").get("tokens"))
        return tuple(str(token) for token in _list(rows[row])) if row < len(rows) else ()

    def listed(self, key: str) -> Sequence[Mapping[str, Any]]:
        """A list of the metadata, such as ``blocks``; empty where there is none."""
        found = self.metadata.get(key, [])
        return [item for item in found if isinstance(item, dict)] if found else []

    def require_model(self, name: str) -> None:
        """Refuses a model of another name than the one recorded; one that is not told fits.

        Raises:
            RecordingError: It is another one.
        """
        told = self.metadata.get("model")
        own = told.get("name") if isinstance(told, dict) else None
        if isinstance(own, str) and own != name:
            raise RecordingError(f"{self.path.name} is a recording of {own}", f"one of {name}")

    def read(self, name: str) -> Array:
        """A whole tensor."""
        with safe_open(self.path, "np") as file:
            array: Array = file.get_tensor(name)
        return array

    def step(self, name: str, index: int) -> Array:
        """One step of a tensor; no other byte of it is read."""
        with safe_open(self.path, "np") as file:
            array: Array = file.get_slice(name)[index]
        return array

    @cached_property
    def quantities(self) -> tuple[Quantity, ...]:
        """Every quantity that the recording knows, shares derived."""
        return tuple(self._quantities())

    def quantity(self, name: str) -> Quantity:
        """One of them.

        Raises:
            RecordingError: The recording does not know it.
        """
        for quantity in self.quantities:
            if quantity.name == name:
                return quantity
        known = ", ".join(quantity.name for quantity in self.quantities)
        raise RecordingError(f"{self.path.name} has no {name}", f"one of {known}")

    def _quantities(self) -> Iterator[Quantity]:
        for name, (arriving, met, key) in _PAIRS.items():
            if arriving in self.shapes and met in self.shapes:
                a, b = self.read(arriving), self.read(met)
                share = a / np.maximum(a + b, np.finfo(np.float32).tiny)
                yield Quantity(name, TITLES[name], self._places(key), share)
        for name, key in _PLAIN.items():
            if name in self.shapes:
                yield Quantity(name, TITLES[name], self._places(key), self.read(name))

    def _places(self, key: str) -> tuple[Place, ...]:
        found = []
        for item in self.listed(key):
            module = str(item.get("module", ""))
            role = str(item.get("role") or _ROLES.get(key, ""))
            label = f"skip {item.get('id')}" if key == "skips" else short(module)
            found.append(Place(module, role, label))
        return tuple(found)

    def _dict(self, key: str) -> Mapping[str, Any]:
        found = self.metadata.get(key)
        return found if isinstance(found, dict) else {}


_ROLES = {
    "injections": "time_injection",
    "skips": "skip",
    "attentions": "cross_attention",
}


def _list(found: Any) -> Sequence[Any]:
    return found if isinstance(found, list) else ()


def experiment(told: Mapping[str, Any]) -> str:
    """One item of ``experiments`` as its command line had it: ``skip:3=0``."""
    what = ":".join(filter(None, (str(told.get("kind", "")), str(told.get("place", "")))))
    factors = [f"{f:g}" for f in _list(told.get("factors")) if isinstance(f, int | float)]
    steps = [step for step in _list(told.get("steps")) if isinstance(step, int)]
    when = "" if steps in ([], [1]) else f"@{'-'.join(map(str, steps))}"
    return what + ("=" + ",".join(factors) if factors else "") + when


def short(module: str) -> str:
    """A module path that fits a label: ``down 0 attn 1.0 attn2``."""
    text = module.replace("_blocks.", " ").replace("_block", "").replace(".resnets.", " res ")
    text = text.replace(".attentions.", " attn ").replace(".transformer ", ".")
    text = text.replace(".downsamplers.0", " down")
    return text.replace(".upsamplers.0", " up").replace(".attn", " attn").replace(".ff", " ff")


def read_recording(path: Path) -> Recording:
    """Opens a recording.

    Raises:
        RecordingError: Not a recording, or one of a format that is not known.
    """
    try:
        with safe_open(path, "np") as file:
            texts = file.metadata() or {}
            names = list(file.keys())
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in names}
        metadata = {
            key.removeprefix(PREFIX): plain_json(text)
            for key, text in texts.items()
            if key.startswith(PREFIX)
        }
    except (OSError, SafetensorError, ValueError) as error:
        raise RecordingError(f"{path} cannot be read as safetensors ({error})") from error
    if metadata.get("format") not in FORMATS or "timestep" not in shapes:
        raise RecordingError(
            f"{path.name} is not a recording",
            f"one of python -m exporter.sample, format {' or '.join(FORMATS)}",
        )
    return Recording(path, metadata, shapes)
