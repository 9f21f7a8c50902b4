"""The PyTorch module that a source describes: empty for tracing, loaded for reference."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from onnx_ir.tensor_adapters import to_torch_dtype
from torch.overrides import TorchFunctionMode

from exporter.conditions.controlnet import PREFIX
from exporter.errors import CheckpointError, ConfigError
from exporter.types import ImagePrompt, Source
from exporter.weights.blueprint import Blueprint
from exporter.weights.checkpoint import validate


class EmptyParameters(TorchFunctionMode):
    """Puts what ``torch.empty`` makes, parameters about to be initialised, on one device.

    Unlike ``torch.device("meta")`` as a context, buffers that a constructor computes keep
    their values; those outside the state dict could not be had from a checkpoint.
    """

    def __init__(self, device: str) -> None:
        super().__init__()
        self._device = device

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.empty:
            kwargs["device"] = self._device
        return func(*args, **kwargs)


def build_from_config(
    class_name: str, config: Mapping[str, Any], device: str = "meta"
) -> torch.nn.Module:
    """A diffusers UNet in eval mode, without gradients.

    Args:
        class_name: ``UNet2DConditionModel`` or ``UNet2DModel``.
        config: Its diffusers config.
        device: Where parameters are; ``meta`` costs neither memory nor initialisation.

    Raises:
        ConfigError: diffusers cannot build a UNet from this config.
    """
    import diffusers  # takes seconds: only when a UNet is really built

    try:
        with EmptyParameters(device), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what a weight check refuses in words of ours
            unet: torch.nn.Module = getattr(diffusers, class_name).from_config(dict(config))
    except Exception as error:  # whatever a constructor does with values it never expected
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"diffusers {diffusers.__version__} cannot build {class_name} from this config: "
            f"{type(error).__name__}: {reason}"
        ) from error
    return unet.eval().requires_grad_(False)


def build_unet(source: Source, device: str = "meta") -> torch.nn.Module:
    """The source's UNet, its ControlNets and IP-Adapters within, with parameters of no value.

    See ``build_from_config``.
    """
    unet = build_from_config(source.class_name, source.config, device)
    if source.ip_adapters:
        _adapt(unet, source.ip_adapters, device)
    for index, net in enumerate(source.controlnets):
        unet.add_module(
            f"{PREFIX}{index}", build_from_config("ControlNetModel", net.config, device)
        )
    return unet


def load_unet(source: Source, dtype: torch.dtype) -> torch.nn.Module:
    """The source's UNet with its real weights, on the CPU, ready to be a reference.

    Parameters that a checkpoint stores in ``dtype`` are mapped from the file, so that their
    pages stay reclaimable; others are converted one at a time.

    Raises:
        CheckpointError: The weights do not fit the config, or cannot be read.
    """
    unet, weights = build_unet(source), source.weights
    validate(weights, Blueprint.of(unet))
    state: dict[str, torch.Tensor] = {}
    for name, wanted in unet.state_dict().items():
        if to_torch_dtype(weights.tensors[name].dtype) == dtype:
            state[name] = weights.map(name)
        else:
            stored = weights.read(name)
            state[name] = stored.to(dtype) if wanted.is_floating_point() else stored
    unet.load_state_dict(state, strict=True, assign=True)
    torch.nn.Module.to(unet, dtype)  # buffers; diffusers' own `to` warns on a bare cast
    return unet.requires_grad_(False)


def _adapt(unet: Any, adapters: tuple[ImagePrompt, ...], device: str) -> None:
    """Puts IP-Adapters into a UNet with diffusers' own loader."""
    states = [
        {
            part: {
                name.removeprefix(f"{part}."): torch.empty(shape, device=device)
                for name, shape in adapter.shapes.items()
                if name.startswith(f"{part}.")
            }
            for part in ("image_proj", "ip_adapter")
        }
        for adapter in adapters
    ]
    try:
        with torch.device(device), warnings.catch_warnings(), _calm():
            warnings.simplefilter("ignore")
            unet._load_ip_adapter_weights(states, low_cpu_mem_usage=False)
    except Exception as error:  # whatever a loader does with shapes it never expected
        names = ", ".join(adapter.name for adapter in adapters)
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"diffusers cannot load {names}: {reason}") from error
    unet.eval().requires_grad_(False)


@contextmanager
def _calm() -> Iterator[None]:
    """Without diffusers' remark on a bare cast, which casts nothing here."""
    logger = logging.getLogger("diffusers.models.modeling_utils")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
