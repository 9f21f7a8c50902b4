"""The backward graph of one module, as torchviz draws it.

An ONNX file has no backward graph: the UNet is built again from the config that our exporter
writes into the file, on the ``meta`` device, where tensors have shapes and gradients but no
bytes. A forward pass of Stable Diffusion's UNet takes a fraction of a second there.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from viewer.errors import ModelError, TargetError
from viewer.extras import need
from viewer.model.atlas import Atlas
from viewer.outputs.graphviz import check_format, render
from viewer.outputs.modules import unknown_module

if TYPE_CHECKING:
    import torch

INSTALL = "pip install torchviz setuptools"
"""torchviz imports distutils, which Python 3.12 has only through setuptools."""


def write(atlas: Atlas, path: Path, module: str) -> Path:
    """Draws the backward graph from a module's output to its parameters and inputs.

    Args:
        atlas: A model written by our exporter.
        path: Where to; the suffix says the format (``viewer.outputs.graphviz.FORMATS``).
        module: Module path, e.g. ``mid_block.resnets.0``.

    Raises:
        TargetError: torchviz, torch or Graphviz is not installed, or the model has no such
            module.
        ModelError: The file does not hold the config, or no UNet can be built from it.
    """
    check_format(path)
    make_dot = need("torchviz", INSTALL).make_dot
    output, names = backward(atlas, module)
    return render(str(make_dot(output, params=dict(names)).source), path)


def backward(atlas: Atlas, module: str) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
    """Runs the UNet on ``meta`` tensors and cuts one module out of its autograd graph.

    Args:
        atlas: A model written by our exporter.
        module: Module path as in ``get_submodule``.

    Returns:
        The module's output, whose ``grad_fn`` ends at the module's own inputs, and its
        parameters and inputs by name.

    Raises:
        TargetError: There is no such module, or nothing in it can be differentiated.
        ModelError: As in ``write``.
    """
    unet = _build(atlas)
    parts = {name: part for name, part in unet.named_modules() if name}
    if module not in parts:
        raise unknown_module(atlas, module, parts)
    part = parts[module]
    names: dict[str, Any] = {f"{module}.{name}": p for name, p in part.named_parameters()}
    formals = list(inspect.signature(part.forward).parameters)
    caught: dict[str, Any] = {}

    def enter(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        fed = [_leaf(v, name, names) for v, name in zip(args, formals, strict=False)]
        return (*fed, *args[len(fed) :]), {
            key: _leaf(value, key, names) for key, value in kwargs.items()
        }

    def leave(_: Any, __: Any, output: Any) -> None:
        caught.setdefault("output", output)

    part.register_forward_pre_hook(enter, with_kwargs=True)
    part.register_forward_hook(leave)
    unet(**_inputs(atlas))
    return _first_tensor(caught.get("output"), module), names


def _build(atlas: Atlas) -> Any:
    import diffusers
    import torch

    name = str(atlas.config.get("_class_name", atlas.metadata.get("atlas.model.class", "")))
    if not atlas.config or name not in ("UNet2DConditionModel", "UNet2DModel"):
        raise ModelError(
            f"{atlas.file.path.name} has no atlas.model.config",
            "a file written by python -m exporter",
        )
    try:
        with torch.device("meta"):
            return getattr(diffusers, name).from_config(dict(atlas.config)).eval()
    except (TypeError, ValueError, KeyError, NotImplementedError) as error:
        raise ModelError(
            f"no {name} can be built from atlas.model.config ({error})"
        ) from error


def _inputs(atlas: Atlas) -> dict[str, Any]:
    """What diffusers' ``forward`` is fed, as ``meta`` tensors of the nominal size."""
    import torch

    fed: dict[str, Any] = {"return_dict": False}
    for value in (atlas.tree.values[v] for v in atlas.tree.inputs):
        sizes = [atlas.nominal.dim(dim) or 1 for dim in value.shape or ()]
        tensor = torch.empty(sizes, device="meta")
        if value.name in ("text_embeds", "time_ids"):
            fed.setdefault("added_cond_kwargs", {})[value.name] = tensor
        else:
            fed[value.name] = tensor.long() if value.name == "class_labels" else tensor
    return fed


def _leaf(value: Any, name: str, names: dict[str, Any]) -> Any:
    """A tensor cut off from what made it, so that the backward graph ends here."""
    import torch

    if not isinstance(value, torch.Tensor) or not value.is_floating_point():
        return value
    names[name] = value.detach().requires_grad_()
    return names[name]


def _first_tensor(output: Any, module: str) -> torch.Tensor:
    import torch

    outputs = output if isinstance(output, (tuple, list)) else (output,)
    for value in outputs:
        if isinstance(value, torch.Tensor) and value.grad_fn is not None:
            return value
    raise TargetError(f"{module} has no backward graph", "a module that computes with floats")
