"""Adds a low-rank branch to every layer: LoRA whose factors are inputs of the graph."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from exporter import metadata as meta
from exporter.conditions.controlnet import PREFIX
from exporter.conditions.ip_adapter import is_adapter_weight
from exporter.conditions.lora import DOWN, SCALE, UP

TRANSFORMERS = frozenset(
    ("cross_attention", "self_attention", "joint_attention", "feed_forward", "transformer")
)
"""Roles of the layers that nearly every LoRA changes, and no others."""

_SKIP = (meta.SKIP, meta.SKIP_END, meta.SKIP_SOURCE)
_KEPT = (meta.MODULE, meta.CLASS, meta.SOURCE, meta.SIDE, meta.LEVEL)


class LowRank(ir.passes.InPlacePass):
    """Puts ``(x A) * lora_scale B`` beside each product with a weight.

    A and B are graph inputs with a default, so that whoever knows nothing of them gets the
    plain graph: of rank 0, and of rank 1 and zeros for a convolution, whose result ONNX
    Runtime (1.31, on a CPU) leaves unwritten where no channel enters it. The sum comes right
    behind the product and before its bias: what ONNX Runtime fuses behind it (a bias, a
    residual and a norm) it then fuses as ever, and the result is the same bit for bit.

    Args:
        parameters: Names of the parameter inputs.
        roles: Roles of the nodes that get a branch; None for all.
    """

    def __init__(
        self, parameters: Collection[str], roles: Collection[str] | None = TRANSFORMERS
    ) -> None:
        super().__init__()
        self.parameters, self.roles = frozenset(parameters), roles

    def call(self, model: ir.Model) -> ir.passes.PassResult:  # noqa: D102
        graph = model.graph
        found = list(self._layers(graph))
        if not found:
            return ir.passes.PassResult(model, modified=False)
        dtype = found[0][1].dtype
        assert dtype is not None
        scale = _default(graph, SCALE, [], np.ones((), np.float32), dtype)
        for index, (node, weight) in enumerate(found):
            _Branch(graph, node, weight, f"R{index}").add(scale)
        return ir.passes.PassResult(model, modified=True)

    def _layers(self, graph: ir.Graph) -> Iterator[tuple[ir.Node, ir.Value]]:
        for node in graph:
            if node.op_type not in ("MatMul", "Gemm", "Conv"):
                continue
            if self.roles is not None and node.metadata_props.get(meta.ROLE) not in self.roles:
                continue
            weight = self._weight(node.inputs[1])
            grouped = "group" in node.attributes and node.attributes["group"].as_int() != 1
            if weight is not None and not grouped:
                yield node, weight

    def _weight(self, value: ir.Value | None) -> ir.Value | None:
        """The UNet's parameter that a node multiplies by, transposed or not."""
        producer = value.producer() if value is not None else None
        if producer is not None and producer.op_type == "Transpose":
            value = producer.inputs[0]
        if value is None or value.name is None or value.name not in self.parameters:
            return None
        name = value.name
        foreign = name.startswith(PREFIX) or is_adapter_weight(name)
        return value if name.endswith(".weight") and not foreign else None


class _Branch:
    """One branch: where it starts, what it is made of, where it is added."""

    def __init__(self, graph: ir.Graph, node: ir.Node, weight: ir.Value, rank: str) -> None:
        self.graph, self.node, self.rank = graph, node, rank
        self._last = node
        self.path = (weight.name or "").removesuffix(".weight")
        assert weight.shape is not None
        self.shape = [int(size) for size in weight.shape]  # type: ignore[arg-type]
        assert weight.dtype is not None
        self.dtype = weight.dtype
        props = node.metadata_props
        self.props = {key: props[key] for key in _KEPT if key in props} | {meta.ROLE: "lora"}

    def add(self, scale: ir.Value) -> None:
        """Makes factors and nodes; every reader of the layer reads the sum."""
        plain, (source, *_) = self.node.outputs[0], self.node.inputs
        assert source is not None
        conv = self.node.op_type == "Conv"
        down, up = self._factors(conv=conv)
        attributes = self._window() if conv else {}
        kind = "Conv" if conv else "MatMul"
        width = 1 if conv else -1
        inner = self._node(kind, [source, down], self._like(plain, width), "A", attributes)
        scaled = self._node("Mul", [inner, scale], self._like(plain, width), "scale")
        outer = self._node(kind, [scaled, up], plain.shape, "B")
        total = self._node("Add", [plain, outer], plain.shape, "Add")
        for user, index in list(plain.uses()):
            if user is not total.producer():
                user.replace_input_with(index, total)
        for index, value in enumerate(self.graph.outputs):
            if value is plain:
                self.graph.outputs[index] = total
        self._hand_over(plain, total)

    def _factors(self, *, conv: bool) -> tuple[ir.Value, ir.Value]:
        outs, ins, *window = self.shape
        rank = self.rank
        down: list[int | str] = [rank, ins, *window] if conv else [ins, rank]
        up: list[int | str] = [outs, rank, 1, 1] if conv else [rank, outs]
        least = int(conv)
        return self._factor(DOWN, down, least), self._factor(UP, up, least)

    def _factor(self, suffix: str, shape: list[int | str], rank: int) -> ir.Value:
        sizes = [size if isinstance(size, int) else rank for size in shape]
        zeros = np.zeros(sizes, np.float32)
        return _default(self.graph, self.path + suffix, shape, zeros, self.dtype)

    def _window(self) -> dict[str, ir.Attr]:
        return {key: value for key, value in self.node.attributes.items() if key != "group"}

    def _like(self, value: ir.Value, axis: int) -> ir.Shape:
        dims = list(value.shape or ())
        dims[axis] = ir.SymbolicDim(self.rank)
        return ir.Shape(dims)

    def _node(
        self,
        kind: str,
        inputs: list[ir.Value],
        shape: ir.Shape | None,
        name: str,
        attributes: dict[str, ir.Attr] | None = None,
    ) -> ir.Value:
        made = ir.Node(
            "",
            kind,
            inputs,
            [*(attributes or {}).values()],
            name=f"{self.path}/lora_{name}",
            metadata_props=dict(self.props),
        )
        (value,) = made.outputs
        value.name, value.shape, value.type = made.name, shape, ir.TensorType(self.dtype)
        self.graph.insert_after(self._last, made)
        self._last = made
        return value

    def _hand_over(self, plain: ir.Value, total: ir.Value) -> None:
        """``skip_0`` is the sum, and so is what is known of it as a skip."""
        node = total.producer()
        assert node is not None
        node.metadata_props[meta.CONDITION] = self.path
        for key in _SKIP:
            if key in self.node.metadata_props:
                node.metadata_props[key] = self.node.metadata_props.pop(key)
        if plain.name != self.node.name:  # a name of its own
            total.name, plain.name = plain.name, self.node.name


def _default(
    graph: ir.Graph,
    name: str,
    shape: list[int | str],
    array: npt.NDArray[np.float32],
    dtype: ir.DataType,
) -> ir.Value:
    """A graph input that may be left out."""
    held = ir.tensor(array.astype(dtype.numpy()), dtype=dtype, name=name)
    value = ir.Value(
        name=name, shape=ir.Shape(shape), type=ir.TensorType(dtype), const_value=held
    )
    graph.inputs.append(value)
    graph.register_initializer(value)
    return value
