"""Modules of one shape are traced, lowered and simplified once, then copied.

SD1.5 holds 16 transformers of four shapes, SDXL 70 transformer blocks of two. While tracing,
the first module of a kind runs between ``Enter`` and ``Leave`` markers; every further one
leaves a single ``Repeat`` node. When the graph is simple, ``ExpandRepeats`` replaces each
``Repeat`` by a copy of what lies between the markers, with the module's own parameters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir
import torch
from torch.utils import _pytree as pytree

from exporter import metadata as meta

DOMAIN = "atlas.trace"
MIN_LEAVES = 3  # modules with fewer parametrised layers are not worth two markers


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
    included, must be equal.
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
    return (
        tuple((name, _attributes(part)) for name, part in module.named_modules()),
        tuple((name, p.shape, p.dtype) for name, p in module.named_parameters()),
        tuple((name, b.shape, b.dtype) for name, b in module.named_buffers()),
    )


def _attributes(module: torch.nn.Module) -> tuple[str, ...]:
    plain = (int, float, str, bool, tuple, type(None))
    return (
        type(module).__qualname__,
        *(
            f"{key}={value!r}" if isinstance(value, plain) else f"{key}:{type(value)}"
            for key, value in vars(module).items()
            if not key.startswith("_") and key != "forward"
        ),
    )


class ExpandRepeats(ir.passes.InPlacePass):
    """Replaces each ``Repeat`` by a copy of its template and drops the markers."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:  # noqa: D102
        graph = model.graph
        leaves = {_template(n): n for n in graph if _is(n, "Leave")}
        repeats = [n for n in graph if _is(n, "Repeat")]
        inputs = {value.name or "": value for value in graph.inputs}
        for repeat in repeats:  # in graph order: what a template repeats is expanded before it
            _expand(graph, repeat, leaves[_template(repeat)], inputs)
        markers = [n for n in graph if _is(n, "Enter") or _is(n, "Leave")]
        for marker in markers:
            (inner,) = marker.inputs
            assert inner is not None
            marker.outputs[0].replace_all_uses_with(inner, replace_graph_outputs=True)
            graph.remove(marker, safe=True)
        model.opset_imports.pop(DOMAIN, None)
        return ir.passes.PassResult(model, modified=bool(markers))


def _expand(
    graph: ir.Graph, repeat: ir.Node, leave: ir.Node, inputs: dict[str, ir.Value]
) -> None:
    old_path, new_path = (n.attributes["path"].as_string() for n in (leave, repeat))
    body = _body(leave)
    copied: dict[ir.Value, ir.Value] = {}

    def copy_of(value: ir.Value | None) -> ir.Value | None:
        if value is None or value in copied:
            return copied.get(value) if value is not None else None
        producer = value.producer()
        if producer is not None and _is(producer, "Enter") and _template(producer) == index:
            return repeat.inputs[producer.attributes["place"].as_int()]
        name = value.name or ""
        if value.is_graph_input() and name.startswith(old_path + "."):
            own = new_path + name.removeprefix(old_path)
            if own not in inputs:
                inputs[own] = ir.Value(name=own, shape=value.shape, type=value.type)
                graph.inputs.append(inputs[own])
            copied[value] = inputs[own]
            return inputs[own]
        return value  # a constant

    index = _template(leave)
    fresh = []
    for node in body:
        clone = ir.Node(
            node.domain,
            node.op_type,
            [copy_of(value) for value in node.inputs],
            list(node.attributes.values()),
            num_outputs=len(node.outputs),
            metadata_props=_moved(node.metadata_props, old_path, new_path),
        )
        if _is(node, "Leave"):
            inner = node.attributes["path"].as_string()
            clone.attributes["path"] = ir.AttrString(
                "path", _rebased(inner, old_path, new_path)
            )
        for value, made in zip(node.outputs, clone.outputs, strict=True):
            made.shape, made.type = value.shape, value.type
            copied[value] = made
        fresh.append(clone)
    final = copy_of(leave.inputs[0])
    assert final is not None
    graph.insert_before(repeat, fresh)
    repeat.outputs[0].replace_all_uses_with(final, replace_graph_outputs=True)
    graph.remove(repeat, safe=True)


def _body(leave: ir.Node) -> list[ir.Node]:
    """Nodes between a template's markers, in graph order."""
    index, found, stack = _template(leave), set[ir.Node](), [leave.inputs[0]]
    while stack:
        value = stack.pop()
        node = value.producer() if value is not None else None
        if node is None or node in found:
            continue
        if _is(node, "Enter") and _template(node) == index:
            continue
        found.add(node)
        stack.extend(node.inputs)
    assert leave.graph is not None
    return [node for node in leave.graph if node in found]


def _moved(props: dict[str, str], old_path: str, new_path: str) -> dict[str, str]:
    moved = dict(props)
    if meta.MODULE in moved:
        moved[meta.MODULE] = _rebased(moved[meta.MODULE], old_path, new_path)
    return moved


def _rebased(path: str, old_path: str, new_path: str) -> str:
    inside = path == old_path or path.startswith(old_path + ".")
    return new_path + path[len(old_path) :] if inside else path


def _is(node: ir.Node, name: str) -> bool:
    return node.domain == DOMAIN and node.op_type == name


def _template(node: ir.Node) -> int:
    return int(node.attributes["template"].as_int())
