"""A checkpoint on disk: safetensors files found, understood and read a tensor at a time."""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnx_ir.tensor_adapters import to_torch_dtype

from exporter.errors import CheckpointError
from exporter.json_text import parse_json
from exporter.types import DTYPES, Dtype, TensorSpec, Weights
from exporter.weights.blueprint import Blueprint
from exporter.weights.header import read_header

if TYPE_CHECKING:
    import torch

STEM = "diffusion_pytorch_model"

_LEGACY_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


class Checkpoint:
    """Weights held in one or more safetensors files; implements ``types.Weights``.

    Opening reads headers only. ``tensors`` keeps file order.
    """

    def __init__(
        self, files: Iterable[Path], tensors: Mapping[str, TensorSpec], description: str
    ) -> None:
        self._files = tuple(files)
        self._tensors = dict(tensors)
        self._description = description
        # Weak: pages count as ours until the last tensor on them is gone, and no longer.
        self._maps: WeakValueDictionary[Path, mmap.mmap] = WeakValueDictionary()

    @classmethod
    def open(cls, path: Path) -> Checkpoint:
        """Opens a ``.safetensors`` file, or a ``.safetensors.index*.json`` and its shards.

        Raises:
            CheckpointError: A file is absent, truncated, or contradicts itself or its index.
        """
        if path.suffix != ".json":
            return cls([path], read_header(path), path.name)
        weight_map = _read_index(path)
        shards: dict[str, dict[str, TensorSpec]] = {}
        for shard in dict.fromkeys(weight_map.values()):
            if not (path.parent / shard).is_file():
                raise CheckpointError(
                    f"{path.name} names {shard}, which is not in {path.parent}",
                    do="download the missing shard",
                )
            shards[shard] = read_header(path.parent / shard)
        for name, shard in weight_map.items():
            if name not in shards[shard]:
                raise CheckpointError(f"{path.name} says {name} is in {shard}, which lacks it")
        tensors = {name: shards[shard][name] for name, shard in weight_map.items()}
        files = [path.parent / shard for shard in shards]
        return cls(files, tensors, f"{path.name} ({len(files)} shards)")

    @classmethod
    def in_folder(cls, folder: Path, variant: str | None = None) -> Checkpoint:
        """Opens the diffusers weights of one variant in a UNet's folder.

        Args:
            folder: Holds ``diffusion_pytorch_model.safetensors``, or its sharded index.
            variant: As in ``from_pretrained``, e.g. ``"fp16"``.

        Raises:
            CheckpointError: No such weights, only pickled ones, or broken ones.
        """
        for name in weight_names(variant):
            if (folder / name).is_file():
                return cls.open(folder / name)
        found = sorted(path.name for path in folder.glob("*.safetensors"))
        if found:
            raise CheckpointError(
                f"{folder} holds {', '.join(found[:4])}",
                weight_names(variant)[0],
                "choose with --variant",
            )
        pickled = sorted(
            path.name
            for kind in ("*.bin", "*.ckpt", "*.pt", "*.pth")
            for path in folder.glob(kind)
        )
        if pickled:
            raise CheckpointError(
                f"{folder} holds pickled weights only ({pickled[0]}), which can run code",
                "safetensors",
                "convert them where you trust them: load the UNet with diffusers, then "
                "save_pretrained(folder, safe_serialization=True)",
            )
        raise CheckpointError(f"{folder} holds no weights", " or ".join(weight_names(variant)))

    @property
    def files(self) -> tuple[Path, ...]:
        """The safetensors files, each once."""
        return self._files

    @property
    def seed(self) -> None:
        """None: nothing is random here."""

    @property
    def tensors(self) -> Mapping[str, TensorSpec]:
        """Every tensor by name, in file order."""
        return self._tensors

    @property
    def description(self) -> str:
        """The file's name, or the index's name and the number of shards."""
        return self._description

    def read(self, name: str) -> torch.Tensor:
        """One tensor in its stored dtype, in memory of its own.

        Raises:
            CheckpointError: The file is no longer what it was when opened.
        """
        import torch  # where bytes are only copied, it is not needed

        spec = self._tensors[name]
        if spec.nbytes == 0:
            return torch.empty(spec.shape, dtype=to_torch_dtype(spec.dtype))
        flat = torch.from_numpy(self._bytes(spec)).view(to_torch_dtype(spec.dtype))
        return flat.reshape(spec.shape)

    def raw(self, name: str) -> memoryview:
        """One tensor's bytes, in memory of their own.

        Raises:
            CheckpointError: The file is no longer what it was when opened.
        """
        data: Any = self._bytes(self._tensors[name])
        return memoryview(data)

    def _bytes(self, spec: TensorSpec) -> npt.NDArray[np.uint8]:
        assert spec.file is not None
        try:
            raw = np.fromfile(spec.file, np.uint8, spec.nbytes, offset=spec.offset)
        except OSError as error:
            raise CheckpointError(f"{spec.file}: {error.strerror}") from error
        if raw.nbytes != spec.nbytes:
            raise CheckpointError(f"{spec.file} became shorter while {spec.name} was read")
        return raw

    def map(self, name: str) -> torch.Tensor:
        """One tensor as pages of the file: reclaimable memory, private if written to."""
        import torch

        spec = self._tensors[name]
        assert spec.file is not None
        if spec.nbytes == 0 or spec.offset % int(spec.dtype.itemsize):
            return self.read(name)  # torch wants aligned data; old writers did not pad
        mapped = self._maps.get(spec.file)
        if mapped is None:
            with spec.file.open("rb") as file:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
            self._maps[spec.file] = mapped
        count, dtype = spec.nbytes // int(spec.dtype.itemsize), to_torch_dtype(spec.dtype)
        flat = torch.frombuffer(mapped, dtype=dtype, count=count, offset=spec.offset)
        return flat.reshape(spec.shape)

    def with_modern_names(self, blueprint: Blueprint) -> Checkpoint:
        """The same weights under the names today's diffusers gives old attention blocks.

        Mirrors ``ModelMixin._fix_state_dict_keys_on_load``: ``query``, ``key``, ``value`` and
        ``proj_attn`` became ``to_q``, ``to_k``, ``to_v`` and ``to_out.0``, shapes unchanged.
        """
        renames = {
            f"{path}.{old}.{kind}": f"{path}.{new}.{kind}"
            for path in blueprint.old_attentions
            for old, new in _LEGACY_ATTENTION.items()
            for kind in ("weight", "bias")
        }
        if not renames.keys() & self._tensors.keys():
            return self
        tensors = {
            renames.get(name, name): replace(spec, name=renames.get(name, name))
            for name, spec in self._tensors.items()
        }
        return Checkpoint(self._files, tensors, self._description)


def weight_names(variant: str | None) -> tuple[str, str]:
    """File names that diffusers gives a variant's weights: the single file, then the index."""
    dotted = f".{variant}" if variant else ""
    return f"{STEM}{dotted}.safetensors", f"{STEM}.safetensors.index{dotted}.json"


def validate(weights: Weights, blueprint: Blueprint) -> None:
    """Checks that the weights are exactly what the model takes.

    Args:
        weights: The candidate.
        blueprint: What the model takes.

    Raises:
        CheckpointError: Names the tensors that are missing, extra, misshapen or not floats.
    """
    wanted, stored = blueprint.shapes, weights.tensors
    misshapen = [
        f"{name} {list(stored[name].shape)} instead of {list(shape)}"
        for name, shape in wanted.items()
        if name in stored and stored[name].shape != shape
    ]
    mistyped = [
        f"{name} {stored[name].dtype.numpy()}"
        for name in wanted
        if name in stored
        and (name in blueprint.integers) == stored[name].dtype.is_floating_point()
    ]
    faults = (
        ("missing", [name for name in wanted if name not in stored]),
        ("extra", [name for name in stored if name not in wanted]),
        ("wrongly shaped", misshapen),
        ("wrongly typed", mistyped),
    )
    told = [f"{len(names)} {what}: {_some(names)}" for what, names in faults if names]
    if told:
        raise CheckpointError(
            f"{weights.description} does not fit the config: {'; '.join(told)}",
            do="check that config and weights belong together",
        )


def natural_dtype(weights: Weights) -> Dtype:
    """The float dtype that holds most bytes; fp32 unless that is fp16 or bf16."""
    held: dict[ir.DataType, int] = {}
    for spec in weights.tensors.values():
        held[spec.dtype] = held.get(spec.dtype, 0) + spec.nbytes
    most = max(held, key=lambda dtype: held[dtype], default=ir.DataType.FLOAT)
    return next((name for name, dtype in DTYPES.items() if dtype == most), "fp32")


def _some(names: list[str], shown: int = 3) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def _read_index(path: Path) -> dict[str, str]:
    try:
        weight_map = parse_json(path.read_bytes())["weight_map"]
        plain = all(Path(shard).name == shard for shard in weight_map.values())
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{path} is not an index", "JSON with a weight_map of tensor to file name"
        ) from error
    if not plain or not weight_map:
        raise CheckpointError(f"{path}: weight_map must name files beside it")
    return dict(weight_map)
