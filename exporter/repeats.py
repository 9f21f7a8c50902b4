"""Modules of one shape are traced, lowered and simplified once, then copied.

SD1.5 holds 16 transformers of four shapes, SDXL 70 transformer blocks of two. While tracing,
the first module of a kind runs between ``Enter`` and ``Leave`` markers; every further one
leaves a single ``Repeat`` node. When the graph is simple, ``passes.repeats`` replaces each
``Repeat`` by a copy of what lies between the markers, with the module's own parameters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from types import BuiltinFunctionType, FunctionType
from typing import Any

import torch
from torch.utils import _pytree as pytree

from exporter.passes.repeats import DOMAIN

MIN_LEAVES = 3  # modules with fewer parametrised layers are not worth two markers

_PLAIN = (int, float, complex, str, bytes, type(None), torch.dtype, torch.device)
_BY_IDENTITY = (type, FunctionType, BuiltinFunctionType)
_DEPTH = 12  # of values within values
_REMARK = "_use_default_values"  # in a diffusers config: how it was said, not what
_HEAP_TYPE = 1 << 9  # of a type made by a class statement


@dataclass(frozen=True)
class _Template:
    """The first module of a kind, as traced."""

    index: int
    shape: tuple[Any, ...]  # of the output, with torch's symbols
    dtype: torch.dtype
    spec: pytree.TreeSpec


def mark_repeats(unet: torch.nn.Module) -> None:
    """Makes every repeated module of ``unet`` trace only once; see this file's docstring.

    Two modules are of one kind when their classes, attributes and parameter shapes agree, and
    they are called with the same arguments up to the values of tensors: shapes, symbolic ones
    included, must be equal. Whatever cannot be compared by value, in a module or its attention
    processor, makes the module a kind of its own.
    """
    kinds = {
        path: _kind(module)
        for path, module in unet.named_modules()
        if path and type(module).__module__.startswith("diffusers.")
    }
    counts = Counter(kinds.values())
    templates: dict[Any, _Template | None] = {}
    for path, kind in kinds.items():
        module = unet.get_submodule(path)
        leaves = sum(bool(m._parameters) for m in module.modules())
        if counts[kind] > 1 and leaves >= MIN_LEAVES:
            module.forward = _marking(path, module.forward, kind, templates)


def sized(tensor: torch.Tensor, shape: tuple[Any, ...]) -> torch.Tensor:
    """The same tensor, of a shape that tracing takes our word for."""
    return _symbol("Enter", [tensor], {"template": -1, "place": 0}, shape, tensor.dtype)


def _marking(
    path: str,
    forward: Callable[..., Any],
    kind: Any,
    templates: dict[Any, _Template | None],
) -> Callable[..., Any]:
    def marked(*args: Any, **kwargs: Any) -> Any:
        leaves, spec = pytree.tree_flatten((args, kwargs))
        key = (kind, str(spec), tuple(_describe(leaf) for leaf in leaves))
        tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
        template = templates.get(key)
        if template is not None:
            attributes = {"template": template.index, "path": path}
            shape, dtype = template.shape, template.dtype
            result = _symbol("Repeat", tensors, attributes, shape, dtype)
            return pytree.tree_unflatten([result], template.spec)
        if key in templates:  # not of a form that can be repeated
            return forward(*args, **kwargs)
        index = len(templates)
        templates[key] = None
        places = iter(range(len(tensors)))
        entered = [
            _enter(leaf, index, next(places)) if isinstance(leaf, torch.Tensor) else leaf
            for leaf in leaves
        ]
        inner_args, inner_kwargs = pytree.tree_unflatten(entered, spec)
        outputs, out_spec = pytree.tree_flatten(forward(*inner_args, **inner_kwargs))
        if len(outputs) != 1 or not isinstance(outputs[0], torch.Tensor):
            return pytree.tree_unflatten(outputs, out_spec)
        (output,) = outputs
        templates[key] = _Template(index, tuple(output.shape), output.dtype, out_spec)
        attributes = {"template": index, "path": path}
        left = _symbol("Leave", [output], attributes, tuple(output.shape), output.dtype)
        return pytree.tree_unflatten([left], out_spec)

    return marked


def _enter(tensor: torch.Tensor, template: int, place: int) -> torch.Tensor:
    attributes = {"template": template, "place": place}
    return _symbol("Enter", [tensor], attributes, tuple(tensor.shape), tensor.dtype)


def _symbol(
    name: str,
    inputs: list[torch.Tensor],
    attributes: dict[str, Any],
    shape: tuple[Any, ...],
    dtype: torch.dtype,
) -> torch.Tensor:
    return torch.onnx.ops.symbolic(
        f"{DOMAIN}::{name}", inputs, attributes, dtype=dtype, shape=shape, version=1
    )


def _describe(leaf: Any) -> tuple[str, ...]:
    if isinstance(leaf, torch.Tensor):
        return (*(str(size) for size in leaf.shape), str(leaf.dtype))
    return (repr(leaf),)


def _kind(module: torch.nn.Module) -> Any:
    """What modules that can share a trace have in common; hashable."""
    return (
        tuple((name, _state(part)) for name, part in module.named_modules()),
        tuple((name, p.shape, p.dtype) for name, p in module.named_parameters()),
        tuple((name, b.shape, b.dtype) for name, b in module.named_buffers()),
    )


def _state(module: torch.nn.Module) -> Any:
    """Class and attributes; parameters and buffers that a checkpoint holds are compared apart.

    The values of other buffers end up in the graph: they make the module its own kind.
    """
    apart = {"_parameters", "_buffers", "_modules"}
    attributes = {key: value for key, value in vars(module).items() if key not in apart}
    return type(module), _value(attributes), object() if _constants(module) else None


def _constants(module: torch.nn.Module) -> bool:
    return any(
        module._buffers[name] is not None for name in module._non_persistent_buffers_set
    )


def _value(value: Any, depth: int = 0) -> Any:
    """What equal values have in common; for what cannot be compared, equal to nothing else."""
    if isinstance(value, _PLAIN):
        return type(value), repr(value)
    if isinstance(value, _BY_IDENTITY):
        return value
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list | tuple):
        items = value
    elif isinstance(value, set | frozenset):
        items = sorted(value, key=repr)
    elif not _is_python(type(value)):
        return object()
    if depth == _DEPTH:  # perhaps a cycle
        return object()
    items = (*items, *getattr(value, "__dict__", {}).items())
    kept = (one for one in items if not (isinstance(one, tuple) and one[:1] == (_REMARK,)))
    return type(value), tuple(_value(one, depth + 1) for one in kept)


def _is_python(kind: type) -> bool:
    """Whether all state of its instances is in their ``__dict__``."""
    return hasattr(kind, "__dict__") and all(
        base.__module__ != "builtins"
        and "__slots__" not in vars(base)
        and base.__flags__ & _HEAP_TYPE
        and not issubclass(base, torch.Tensor)
        for base in kind.__mro__[:-1]
    )
