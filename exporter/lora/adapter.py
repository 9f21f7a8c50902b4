"""A LoRA under the names and in the layout of a graph's inputs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnxruntime
import torch
from safetensors.torch import save

from exporter import metadata as meta
from exporter.conditions.lora import DOWN, UP, lora_specs, modules_of
from exporter.disk import replacing
from exporter.errors import ConfigError, TargetError, UsageError
from exporter.json_text import json_object
from exporter.runtime.contract import Contract
from exporter.runtime.session import ort_value
from exporter.torch_dtypes import TORCH_DTYPES
from exporter.weights.lora import Factors, Lora, layers_of, read_lora
from exporter.weights.store import WRITER, WRITER_KEY, written_by_us
from exporter.weights.unet import build_from_config

ORT = ".onnx_adapter"
SAFETENSORS = ".safetensors"


@dataclass(frozen=True)
class Adapter:
    """What a graph is fed.

    Attributes:
        tensors: Factors by name of the graph's input.
        loras: Names and strengths of what is in it.
        text: Tensors of text encoders that were left out.
    """

    tensors: Mapping[str, torch.Tensor]
    loras: tuple[tuple[str, float], ...]
    text: int

    @property
    def ranks(self) -> tuple[int, int]:
        """Least and largest."""
        found = [
            tensor.shape[1 if tensor.ndim == 2 else 0]
            for name, tensor in self.tensors.items()
            if name.endswith(DOWN)
        ]
        return min(found), max(found)


def make_adapter(contract: Contract, wishes: Sequence[tuple[Path, float]]) -> Adapter:
    """Reads LoRAs for a file and joins them: ranks add up, each at its own strength.

    Args:
        contract: Of a file with low-rank branches.
        wishes: Files and strengths.

    Raises:
        UsageError: The file has no branches, or none where a LoRA needs one; a LoRA is for
            another UNet.
        CheckpointError: One is no LoRA, or of a kind that has no two factors.
    """
    branches = modules_of(lora_specs(contract.defaults))
    if not branches:
        raise UsageError(
            f"{contract.path.name} takes no LoRA",
            "a file exported with --lora",
            "export it so",
        )
    config = _config(contract)
    layers = layers_of(build_from_config(str(config["_class_name"]), config))
    loras = [(read_lora(path, layers, config), strength) for path, strength in wishes]
    joined: dict[str, Factors] = {}
    for lora, strength in loras:
        _require(lora, branches, contract.path.name)
        for path, factors in lora.factors.items():
            own = factors.times(strength)
            joined[path] = joined[path].concatenated(own) if path in joined else own
    tensors = {}
    for path, factors in joined.items():
        tensors[path + DOWN], tensors[path + UP] = _laid_out(factors)
    told = tuple((lora.name, strength) for lora, strength in loras)
    return Adapter(tensors, told, sum(lora.text for lora, _ in loras))


def write_adapter(adapter: Adapter, path: Path, contract: Contract) -> None:
    """Writes safetensors in the LoRA's own dtype, or ONNX Runtime's format in the graph's.

    Raises:
        TargetError: The name ends otherwise, or belongs to a file that is not ours.
        UsageError: This ONNX Runtime cannot write adapters.
    """
    _guard(path)
    if path.suffix == ORT:
        _write_ort(adapter, path, TORCH_DTYPES[contract.dtype])
        return
    told = [{"file": name, "scale": strength} for name, strength in adapter.loras]
    metadata = {"format": "pt", WRITER_KEY: WRITER, f"{meta.PREFIX}lora": json.dumps(told)}
    tensors = {name: tensor.contiguous() for name, tensor in adapter.tensors.items()}
    with replacing(path) as whole:
        whole.write_bytes(save(tensors, metadata))


def _write_ort(adapter: Adapter, path: Path, dtype: torch.dtype) -> None:
    if not hasattr(onnxruntime, "AdapterFormat"):
        raise UsageError(
            f"ONNX Runtime {onnxruntime.__version__} writes no {ORT}", SAFETENSORS
        )
    written = onnxruntime.AdapterFormat()
    written.set_adapter_version(1)
    written.set_model_version(1)
    values = {k: ort_value(v.to(dtype).contiguous()) for k, v in adapter.tensors.items()}
    written.set_parameters(values)
    with replacing(path.absolute()) as whole:
        try:
            written.export_adapter(str(whole))
        except RuntimeError as error:  # the binding's own
            raise TargetError(f"{path} cannot be written: {error}") from error


def _guard(path: Path) -> None:
    if path.suffix not in (ORT, SAFETENSORS):
        raise TargetError(f"{path.name} as output", f"a name in {SAFETENSORS} or {ORT}")
    if not path.absolute().parent.is_dir():
        raise TargetError(f"there is no folder {path.parent}", do="create it")
    if not path.exists():
        return
    ours = path.is_file() and (path.suffix == ORT or written_by_us(path))
    if not ours:
        raise TargetError(f"{path} is there and was not written by this", do="name another")


def _config(contract: Contract) -> dict[str, object]:
    key = f"{meta.PREFIX}model.config"
    config = json_object(contract.metadata.get(key, "{}"), f"{key} of {contract.path.name}")
    if not isinstance(config.get("_class_name"), str):
        raise ConfigError(f"{contract.path.name} does not say which UNet it is")
    return dict(config)


def _require(lora: Lora, branches: Mapping[str, object], file: str) -> None:
    without = [path for path in lora.factors if path not in branches]
    if without:
        raise UsageError(
            f"{lora.name} changes {without[0]}, beside which {file} has no branch",
            "one for each layer of the LoRA",
            "export the file with --lora all",
        )


def _laid_out(factors: Factors) -> tuple[torch.Tensor, torch.Tensor]:
    """As the graph multiplies: the scale goes into the second factor, if need be float32."""
    up = factors.up.float() * factors.scale
    exact = torch.equal(up.to(factors.up.dtype).float(), up)
    up = up.to(factors.up.dtype) if exact else up
    if up.ndim == 2:
        return factors.down.t(), up.t()
    return factors.down, up
