"""A flat annotated graph -> the same function in ONNX Runtime's own operators.

Which operators depends on where it will run: a contrib operator has no meaning in the ONNX
standard and no kernel but those that ONNX Runtime brings for one provider.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import onnx_ir as ir
import onnxruntime
from onnx_ir.passes.common import CommonSubexpressionEliminationPass, RemoveUnusedNodesPass

from exporter import metadata as meta
from exporter.errors import GraphError, UsageError
from exporter.passes.names import free_name
from exporter.passes.ort.attention import MultiHeadAttention
from exporter.passes.ort.contrib import DOMAIN
from exporter.passes.ort.fusions import Fusions
from exporter.passes.ort.group_norm import GroupNorm
from exporter.passes.ort.instance_norm import InstanceNorm
from exporter.passes.ort.quick_gelu import QuickGelu
from exporter.passes.ort.shapes import Shapes
from exporter.passes.ort.split_gelu import BiasSplitGelu
from exporter.types import Dtype

Target = Literal["cpu", "cuda"]

CPU_FUSIONS = ("skip_layer_norm", "bias_skip_layer_norm")
CUDA_FUSIONS = (*CPU_FUSIONS, "skip_group_norm", "nhwc_conv", "bias_add")
"""Fusions of ``onnxruntime.transformers`` that can match what the passes before them leave."""

OPSETS = range(23, 25)
"""Opsets of the portable graph in which attention is one node."""

SINCE = {"Swish": 24, "Attention": 23, "GroupNormalization": 21}
"""Operators that came, or changed their meaning, after opset 20."""


@dataclass(frozen=True)
class Variant:
    """A graph for one provider of ONNX Runtime.

    Attributes:
        model: Flat; parameters are inputs, as they were.
        provider: Whose kernels it needs.
        fusions: How many nodes of each operator of ONNX Runtime's own it has.
    """

    model: ir.Model
    provider: Target
    fusions: Mapping[str, int]

    @property
    def nodes(self) -> int:
        """Nodes of its graph."""
        return self.model.graph.num_nodes()

    @property
    def facts(self) -> dict[str, Any]:
        """What the file says about itself beyond what the portable one does."""
        made = {"provider": self.provider, "onnxruntime": onnxruntime.__version__}
        return {"variant": "ort", "variant.ort": {**made, "fusions": dict(self.fusions)}}


def require_variant(opset: int, dtype: Dtype | None) -> None:
    """Refuses, before any work, what no variant can be made of.

    Raises:
        UsageError: The opset has no ``Attention``, or the dtype no kernels.
    """
    if opset not in OPSETS:
        raise UsageError(
            f"--optimize ort with --opset {opset}",
            f"{OPSETS[0]} or {OPSETS[-1]}, where attention is one node",
        )
    if dtype == "bf16":
        raise UsageError(
            "--optimize ort with --dtype bf16",
            "fp32 or fp16, which ONNX Runtime's GroupNorm and NhwcConv take",
        )


def passes(provider: Target, parameters: Collection[str]) -> tuple[ir.passes.PassBase, ...]:
    """What makes the variant, in order: forms with kernels first, then what joins them."""
    if provider == "cuda":
        return (
            MultiHeadAttention(),
            BiasSplitGelu(),
            GroupNorm(),
            QuickGelu(),
            Fusions(CUDA_FUSIONS, parameters),
            CommonSubexpressionEliminationPass(),
            RemoveUnusedNodesPass(),
            Shapes(),
        )
    return (
        MultiHeadAttention(),
        InstanceNorm(),
        QuickGelu(),
        CommonSubexpressionEliminationPass(),
        Fusions(CPU_FUSIONS, parameters),
        RemoveUnusedNodesPass(),
        Shapes(),
    )


def make_variant(model: ir.Model, provider: Target, parameters: Sequence[str]) -> Variant:
    """Fuses a copy of ``model`` for one provider.

    Args:
        model: Flat and annotated, of opset 23 or more; parameters are inputs. Unchanged.
        provider: Where the variant will run.
        parameters: Names of the parameter inputs.

    Raises:
        GraphError: ONNX Runtime's optimiser cannot read the graph.
    """
    fused = model.clone()
    fused.opset_imports[DOMAIN] = 1
    try:
        for step in passes(provider, parameters):
            fused = step(fused).model
    except (ValueError, AttributeError, ir.passes.PassError) as error:
        cause = error.__cause__ or error
        raise GraphError(
            f"onnxruntime's optimiser failed: {type(cause).__name__}: {cause}",
            do="leave out --optimize ort",
        ) from error
    fused.graph.sort()
    _keep_parameters(fused, model, parameters)
    _rename(fused, model)
    own = Counter(node.op_type for node in fused.graph if node.domain == DOMAIN)
    since = [SINCE.get(node.op_type, 0) for node in fused.graph if not node.domain]
    fused.opset_imports[""] = max([20, *since])
    return Variant(fused, provider, dict(sorted(own.items())))


def _keep_parameters(fused: ir.Model, model: ir.Model, parameters: Sequence[str]) -> None:
    """Refuses a graph that lost a parameter; every input gets its shape again."""
    now = {value.name: value for value in fused.graph.inputs}
    before = {value.name: value for value in model.graph.inputs}
    for name in parameters:
        if name not in now:
            raise GraphError(
                f"onnxruntime's optimiser lost {name}", do="leave out --optimize ort"
            )
    for value in fused.graph.inputs:
        value.shape, value.type = before[value.name].shape, before[value.name].type


def _rename(fused: ir.Model, model: ir.Model) -> None:
    """Names new nodes and values as ``Names`` named the others, and leaves those alone."""
    nodes = {node.name for node in model.graph}
    values = {value.name for node in model.graph for value in node.outputs}
    values |= {value.name for value in (*model.graph.inputs, *model.graph.outputs)}
    taken = {node.name for node in fused.graph if node.name in nodes} | values
    for node in fused.graph:
        if node.name not in nodes:  # a name of the optimiser's own
            module = node.metadata_props.get(meta.MODULE)
            node.name = free_name(
                f"{module}/{node.op_type}" if module else node.op_type, taken
            )
        for index, value in enumerate(node.outputs):
            if value.name and value.name not in values:
                value.name = f"{node.name}:{index}" if index else node.name
