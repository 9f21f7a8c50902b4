"""Which graph input is the image, the time, the text: told by what each one does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import onnx_ir as ir

from exporter.errors import UsageError
from exporter.runtime.inlined import is_float

CONVENTIONAL = (
    "sample",
    "timestep",
    "encoder_hidden_states",
    "class_labels",
    "timestep_cond",
    "text_embeds",
    "time_ids",
)
"""Names that diffusers gives the inputs of a UNet."""

_RANKS = {
    "sample": (4,),
    "timestep": (0, 1),
    "encoder_hidden_states": (3,),
    "class_labels": (1, 2),
    "timestep_cond": (2,),
    "text_embeds": (2,),
    "time_ids": (2,),
}
_WAVES = frozenset({"Sin", "Cos"})


@dataclass(frozen=True)
class Named:
    """The inputs of a foreign graph.

    Attributes:
        names: The file's name of each recognised input, by its conventional one.
        unknown: Inputs that nothing tells what they are.
    """

    names: Mapping[str, str]
    unknown: tuple[str, ...]


def recognise(graph: ir.Graph, wishes: Mapping[str, str]) -> Named:
    """Finds every conventional input among those of a file.

    A name that diffusers uses is believed where the rank fits. Of the others, the image is
    the one of four axes whose first operator with weights is a Conv; the time has one axis or
    none and becomes a Sin and a Cos, labels have one and do not; the text is the one of three
    axes; of two axes, ``time_ids`` become waves and ``text_embeds`` do not.

    Args:
        graph: Flat.
        wishes: The user's ``--input``: conventional name by the file's.

    Raises:
        UsageError: A wish names no input or no conventional name, or the image, or the time,
            could be several inputs or none.
    """
    inputs = {value.name or "": value for value in graph.inputs if not value.is_initializer()}
    found = _wished(inputs, wishes)
    for name in CONVENTIONAL:
        value = inputs.get(name)
        if value is None or name in found or name in found.values():
            continue
        if value.shape is None or len(value.shape) in _RANKS[name]:
            found[name] = name
    for name in CONVENTIONAL:
        if name in found:
            continue
        free = [value for own, value in inputs.items() if own not in found.values()]
        fitting = [value for value in free if _does(name, value)]
        if len(fitting) == 1:
            found[name] = fitting[0].name or ""
        elif name in ("sample", "timestep"):
            _refuse(name, [value.name or "" for value in fitting or free])
    unknown = tuple(own for own in inputs if own not in found.values())
    return Named(found, unknown)


def _wished(inputs: Mapping[str, ir.Value], wishes: Mapping[str, str]) -> dict[str, str]:
    for own, name in wishes.items():
        if own not in inputs:
            raise UsageError(f"--input {own}={name}", f"an input: {', '.join(inputs)}")
        if name not in CONVENTIONAL:
            raise UsageError(f"--input {own}={name}", f"one of {', '.join(CONVENTIONAL)}")
    return {name: own for own, name in wishes.items()}


def _refuse(name: str, free: list[str]) -> None:
    what = f"{len(free)} inputs could be {name} ({', '.join(free)})" if free else f"no {name}"
    raise UsageError(what, "a UNet's inputs", f"say which: --input NAME={name}")


def _does(name: str, value: ir.Value) -> bool:
    """Whether an input of some other name does what ``name`` does."""
    rank = None if value.shape is None else len(value.shape)
    if rank not in _RANKS[name]:
        return False
    if name == "sample":
        return is_float(value) and any(n.op_type == "Conv" for n in _first(value))
    if name == "timestep":
        return _waves(value)
    if name == "time_ids":
        return is_float(value) and _waves(value)
    if name == "class_labels":
        return rank == 1 and not _waves(value)
    if name == "text_embeds":
        return is_float(value) and not _waves(value)
    return name == "encoder_hidden_states" and is_float(value)


def _first(value: ir.Value) -> Iterator[ir.Node]:
    """The first nodes with weights on every way from an input."""
    stack, seen = [value], set[ir.Node]()
    while stack:
        for node in stack.pop().consumers():
            if node in seen:
                continue
            seen.add(node)
            if any(v is not None and v.is_initializer() and _weighs(v) for v in node.inputs):
                yield node
            else:
                stack += node.outputs


def _weighs(value: ir.Value) -> bool:
    tensor = value.const_value
    return tensor is not None and is_float(value) and len(tensor.shape) > 1


def _waves(value: ir.Value) -> bool:
    """Whether an input becomes a Sin or a Cos before it meets weights."""
    stack, seen = [value], set[ir.Node]()
    while stack:
        for node in stack.pop().consumers():
            if node in seen or node.op_type in ("MatMul", "Gemm", "Conv", "Shape"):
                continue
            if node.op_type in _WAVES:
                return True
            seen.add(node)
            stack += node.outputs
    return False
