"""Traced program -> onnx_ir.Model without weights; every node knows where it comes from."""

from __future__ import annotations

import ast
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import onnx_ir as ir
import torch

from exporter import metadata as meta
from exporter.errors import GraphError
from exporter.passes.name_dims import NameDims
from exporter.types import Program

try:
    from torch.onnx._internal.exporter import _fx_passes
except ImportError:  # private, so any torch may move it
    _fx_passes = None  # type: ignore[assignment]

_NAMESPACE = "pkg.torch.onnx."
_WRAPPER = "traced"  # trace wraps the model in one module so that inputs are flat
_PACKAGES = ("diffusers", "transformers")  # where models are defined
_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+)')


class _Functional(torch.export.ExportedProgram):
    """A program that needs no decomposition; saves torch.onnx two traces of the whole UNet."""

    def run_decompositions(self, *_: Any, **__: Any) -> torch.export.ExportedProgram:
        return self


def lower(program: Program, opset: int) -> ir.Model:
    """Translates the program operator by operator.

    Args:
        program: What ``trace`` returned.
        opset: Opset of the default domain, at least 20.

    Returns:
        A flat model. Parameters are graph *inputs* after the real ones, under their PyTorch
        names: nothing that follows can fold, copy or rename a weight. Every value has a shape
        in B, H, W, S, T; every node has ``atlas.module``, ``atlas.class``, ``atlas.source``.

    Raises:
        GraphError: an operator has no ONNX translation.
    """
    model = _translate(program.exported, opset)
    graph = model.graph
    for spec, value in zip(program.inputs, graph.inputs, strict=True):
        value.name = spec.name
        value.shape = ir.Shape(spec.shape)
    for name, output in zip(program.outputs, graph.outputs, strict=True):
        output.name = name
    signature = program.exported.graph_signature
    stored = {*signature.parameters, *signature.buffers} - {*signature.non_persistent_buffers}
    for name, value in list(graph.initializers.items()):
        if name in stored:
            del graph.initializers[name]
            value.name, value.const_value = name.removeprefix(_WRAPPER + "."), None
            graph.inputs.append(value)
    NameDims(program.axes, ceil=program.size_multiple == 1)(model)
    for node in graph:
        _set_origin(node)
    return model


def _translate(exported: torch.export.ExportedProgram, opset: int) -> ir.Model:
    try:
        with _undecomposed(exported):
            return _export(exported, opset)
    except torch.onnx.OnnxExporterError:
        pass  # an operator that only its decomposition translates
    try:
        return _export(exported, opset)
    except torch.onnx.OnnxExporterError as error:
        cause = error.__cause__ or error
        raise GraphError(
            f"torch.onnx cannot translate this UNet: {str(cause).splitlines()[0][:200]}",
            do="try another --opset",
        ) from error


def _export(exported: torch.export.ExportedProgram, opset: int) -> ir.Model:
    with _silenced(), _unpromoted(exported.graph):
        result = torch.onnx.export(
            exported, (), dynamo=True, optimize=False, opset_version=opset, verbose=False
        )
    assert result is not None
    return result.model


@contextmanager
def _undecomposed(exported: torch.export.ExportedProgram) -> Iterator[None]:
    """Within it the program takes itself for decomposed."""
    original = exported.__class__
    exported.__class__ = _Functional
    try:
        yield
    finally:
        exported.__class__ = original


@contextmanager
def _silenced() -> Iterator[None]:
    """Mutes log lines about packages that a UNet does not need, and torch's word on itself."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # run_decompositions: LeafSpec
            yield
    finally:
        logger.setLevel(level)


@contextmanager
def _unpromoted(graph: torch.fx.Graph) -> Iterator[None]:
    """Spares torch.onnx its search for operands that need a cast, where there are none.

    The search runs the whole program once more on fake tensors, two thirds of lowering. A
    torch that keeps it elsewhere searches as ever.
    """
    search = getattr(_fx_passes, "insert_type_promotion_nodes", None)
    if search is None or any(map(_promotes, graph.nodes)):
        yield
        return
    _fx_passes.insert_type_promotion_nodes = lambda graph_module: None
    try:
        yield
    finally:
        _fx_passes.insert_type_promotion_nodes = search


def _promotes(node: torch.fx.Node) -> bool:
    """Whether an operator meets, or makes, more than one dtype without being a cast."""
    values = [operand.meta.get("val") for operand in node.all_input_nodes]
    operands = {value.dtype for value in values if isinstance(value, torch.Tensor)}
    result = node.meta.get("val")
    made = {result.dtype} if isinstance(result, torch.Tensor) and operands else set()
    cast = node.target is torch.ops.aten._to_copy.default
    return node.op == "call_function" and not cast and len(operands | made) > 1


def _set_origin(node: ir.Node) -> None:
    """Torch's scope and stack metadata -> module path, class and source line."""
    props = node.metadata_props
    scopes = ast.literal_eval(props.get(_NAMESPACE + "name_scopes", "[]"))[:-1]
    classes = ast.literal_eval(props.get(_NAMESPACE + "class_hierarchy", "[]"))[:-1]
    trace = props.get(_NAMESPACE + "stack_trace", "")
    props.clear()
    inside = [(s, c) for s, c in zip(scopes, classes, strict=True) if s.startswith(_WRAPPER)]
    if not inside:
        return  # arithmetic on sizes; placed next to its user once the graph is simple
    path, class_name = inside[-1]
    props[meta.MODULE] = path.removeprefix(_WRAPPER).removeprefix(".")
    props[meta.CLASS] = class_name
    frames = [
        f"{package}/{m['file'].split(f'/{package}/', 1)[1]}:{m['line']}"
        for m in _FRAME.finditer(trace)
        # diffusers has a folder called transformers
        for package in [next((p for p in _PACKAGES if f"/{p}/" in m["file"]), None)]
        if package
    ]
    if frames:
        props[meta.SOURCE] = frames[-1]
