"""Small integer constants shared by the passes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir


def int64_constant(graph: ir.Graph, values: Sequence[int]) -> ir.Value:
    """A 1-D int64 initializer of ``graph`` holding ``values``; equal ones are shared."""
    name = "ints_" + "_".join(str(v).replace("-", "m") for v in values)
    if name not in graph.initializers:
        tensor = ir.tensor(np.array(values, dtype=np.int64), name=name)
        graph.register_initializer(
            ir.Value(
                name=name,
                shape=ir.Shape([len(values)]),
                type=ir.TensorType(ir.DataType.INT64),
                const_value=tensor,
            )
        )
    return graph.initializers[name]


def constant_ints(value: ir.Value | None) -> list[int] | None:
    """The integers that ``value`` always holds, or None when it is computed."""
    tensor = ir.convenience.get_const_tensor(value) if value is not None else None
    if tensor is None or tensor.dtype not in (ir.DataType.INT64, ir.DataType.INT32):
        return None
    return [int(v) for v in tensor.numpy().reshape(-1)]


def dims(value: ir.Value | None) -> tuple[int | str, ...] | None:
    """Named dimensions of a value, or None when its shape is unknown."""
    if value is None or value.shape is None:
        return None
    return tuple(d if isinstance(d, int) else str(d) for d in value.shape)


def sole_user(value: ir.Value) -> ir.Node | None:
    """The one node that reads ``value``, or None."""
    users = {usage.node for usage in value.uses()}
    return next(iter(users)) if len(users) == 1 and not value.is_graph_output() else None
