"""Faults as an exporter might make them, put into written files."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from tests.exporter.parity.edits import Edit as Fault
from tests.exporter.parity.edits import call, edit_constant, find, inject, swap

__all__ = ["Fault", "inject"]


def bias_by_one_percent(module: str, op_type: str) -> Fault:
    def scale(array: np.ndarray) -> None:
        array *= np.float32(1.01)

    def fault(model: ir.Model) -> None:
        node = find(model, module, op_type)
        edit_constant(node, 1 if op_type == "Add" else 2, scale)

    return fault


def zero_channel(module: str) -> Fault:
    def zero(array: np.ndarray) -> None:
        array[3] = 0

    return lambda model: edit_constant(find(model, module, "Conv"), 1, zero)


def swap_key_and_value(module: str) -> Fault:
    return lambda model: swap(find(model, module, "Attention"), 1, 2)


def drop_scale(module: str) -> Fault:
    def fault(model: ir.Model) -> None:
        node = find(model, module, "Attention")
        node.attributes["scale"] = ir.AttrFloat32("scale", 1.0)

    return fault


def flip_sin_and_cos(module: str) -> Fault:
    return lambda model: swap(find(model, module, "Concat"), 0, 1)


def skip_from_level_below(user: str, right: str, wrong: str) -> Fault:
    """``user`` takes the skip of the level below, enlarged so that it fits."""

    def fault(model: ir.Model) -> None:
        node = call(model, user)
        index = [value.name if value else "" for value in node.inputs].index(right)
        made = {value.name: value for other in model.graph for value in other.outputs}
        scales = ir.tensor(np.array([1, 1, 2, 2], np.float32), name="enlarge")
        constant = ir.node("Constant", [], {"value": scales}, name="enlarge")
        resize = ir.node(
            "Resize",
            [made[wrong], None, constant.outputs[0]],
            {"mode": "nearest"},
            name="resize_skip",
        )
        constant.outputs[0].name, resize.outputs[0].name = "enlarge", "enlarged"
        node.replace_input_with(index, resize.outputs[0])
        model.graph.insert_before(node, [constant, resize])

    return fault


def reassociate_sum(module: str) -> Fault:
    """``(x + a) + b`` becomes ``x + (a + b)``: another rounding, nothing else."""

    def fault(model: ir.Model) -> None:
        inner = find(model, module, "Add")
        outer = next(user for user in inner.outputs[0].consumers() if user.op_type == "Add")
        first, x = inner.inputs
        index = list(outer.inputs).index(inner.outputs[0])
        sums = ir.node("Add", [first, outer.inputs[1 - index]], name="sum_of_branches")
        sums.outputs[0].name = "sum_of_branches"
        outer.replace_input_with(index, x)
        outer.replace_input_with(1 - index, sums.outputs[0])
        assert outer.graph is not None
        outer.graph.insert_before(outer, sums)

    return fault
