"""LoRA as inputs: two low-rank factors for each layer, which a file reads and does not hold.

``y = W x`` becomes ``y = W x + scale * B (A x)`` (https://arxiv.org/abs/2106.09685). Off is
rank 0, a product over no elements, or a factor of zeros: ``y + 0`` is ``y``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from exporter.types import InputSpec

if TYPE_CHECKING:
    import torch

DOWN, UP = ".lora_A", ".lora_B"
"""What follows a module's path in the names of its factors."""

SCALE = "lora_scale"
"""The input that scales all branches; 1 unless it is given."""


def is_lora(name: str) -> bool:
    """Whether an input is a factor, or the scale of them all."""
    return name == SCALE or name.endswith((DOWN, UP))


def lora_specs(
    defaults: Mapping[str, tuple[int | str, ...]],
) -> tuple[InputSpec, ...]:
    """The factors that a file takes, and their scale.

    Args:
        defaults: Shape by name of the inputs that have a default.
    """
    return tuple(InputSpec(name, shape) for name, shape in defaults.items() if is_lora(name))


def modules_of(specs: tuple[InputSpec, ...]) -> dict[str, tuple[InputSpec, InputSpec]]:
    """Both factors of every module that has a branch, by its path."""
    named = {spec.name: spec for spec in specs}
    paths = (name.removesuffix(DOWN) for name in named if name.endswith(DOWN))
    return {path: (named[path + DOWN], named[path + UP]) for path in paths}


@contextmanager
def added(unet: torch.nn.Module, tensors: Mapping[str, torch.Tensor]) -> Iterator[None]:
    """Within it a UNet's layers have the branches whose factors are among ``tensors``.

    Args:
        unet: A diffusers UNet.
        tensors: Factors by input name, as the graph takes them: of a linear layer (in, R) and
            (R, out), of a convolution (R, in, h, w) and (out, R, 1, 1).
    """
    scale = tensors.get(SCALE)
    with ExitStack() as hooks:
        for name, down in tensors.items():
            if name.endswith(DOWN):
                module = unet.get_submodule(name.removesuffix(DOWN))
                branch = _branch(down, tensors[name.removesuffix(DOWN) + UP], scale)
                # First of all hooks: whoever watches the layer sees what it hands on.
                hook = module.register_forward_hook(branch, prepend=True)
                hooks.callback(hook.remove)
        yield


def _branch(
    down: torch.Tensor, up: torch.Tensor, scale: torch.Tensor | None
) -> Callable[..., torch.Tensor]:
    import torch  # here, so that the names of inputs can be had without it

    factor = torch.ones(()) if scale is None else scale

    def add(module: torch.nn.Module, args: tuple[Any, ...], output: Any) -> torch.Tensor:
        (image,) = args
        if isinstance(module, torch.nn.Conv2d):
            stride, padding, dilation = module.stride, module.padding, module.dilation
            inner = torch.nn.functional.conv2d(image, down, None, stride, padding, dilation)
            branch = torch.nn.functional.conv2d(inner * factor, up)
        else:
            branch = torch.matmul(torch.matmul(image, down) * factor, up)
        total: torch.Tensor = output + branch
        return total

    return add
