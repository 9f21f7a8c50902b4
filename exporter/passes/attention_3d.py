"""Attention on (batch, tokens, channels), without Reshape and Transpose around it."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from exporter.values import dims, sole_user

_SWAP = [0, 2, 1, 3]


class Attention3D(ir.passes.InPlacePass):
    """Lets ``Attention`` split its own heads.

    diffusers' ``AttnProcessor2_0`` views (B, L, heads * d) as (B, heads, L, d) before
    ``scaled_dot_product_attention`` and undoes it after. ONNX ``Attention`` (opset 23) does
    the same when it is given 3-D operands with ``q_num_heads`` and ``kv_num_heads``.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:  # noqa: D102
        modified = False
        for node in list(model.graph):
            if node.op_type == "Attention" and len(node.outputs) == 1:
                modified |= _rewrite(node)
        return ir.passes.PassResult(model, modified)


@dataclass(frozen=True)
class _Operand:
    tokens: ir.Value  # (B, L, heads * d), or (B, I, L, heads * d): tokens of several images
    split: ir.Node  # the Reshape that splits the heads
    heads: int

    def flat(self, length: ir.SymbolicDim | int | None) -> ir.Value:
        """The tokens in one row."""
        shape = dims(self.tokens)
        if shape is None or len(shape) == 3:
            return self.tokens
        name = f"{self.tokens.name}_in_a_row"
        target = ir.node("Constant", [], {"value_ints": [0, -1, int(shape[-1])]})
        target.outputs[0].name = f"{name}_shape"
        made = ir.node(
            "Reshape",
            [self.tokens, target.outputs[0]],
            name=name,
            metadata_props=dict(self.split.metadata_props),
        )
        target.metadata_props.update(self.split.metadata_props)
        value = made.outputs[0]
        value.name, value.type = name, self.tokens.type
        value.shape = ir.Shape([shape[0], length, shape[-1]])
        assert self.split.graph is not None
        self.split.graph.insert_before(self.split, [target, made])
        return value


def _rewrite(node: ir.Node) -> bool:
    operands = [_split_heads(value) for value in node.inputs[:3]]
    merged = _merged_heads(node.outputs[0])
    if merged is None or any(operand is None for operand in operands):
        return False
    q, k, v = (operand for operand in operands if operand is not None)
    if k.heads != v.heads:
        return False
    for index, operand in enumerate((q, k, v)):
        length = node.inputs[index].shape[2]  # type: ignore[union-attr, index]
        node.replace_input_with(index, operand.flat(length))
    node.attributes["q_num_heads"] = ir.AttrInt64("q_num_heads", q.heads)
    node.attributes["kv_num_heads"] = ir.AttrInt64("kv_num_heads", k.heads)
    for default in ("qk_matmul_output_mode", "softcap", "is_causal"):
        attribute = node.attributes.get(default)
        if attribute is not None and not attribute.value:
            del node.attributes[default]
    output = node.outputs[0]
    output.shape, output.name = merged.shape, merged.name
    merged.name = f"{merged.name}_4d"
    merged.replace_all_uses_with(output, replace_graph_outputs=True)
    return True


def _split_heads(value: ir.Value | None) -> _Operand | None:
    transpose = value.producer() if value is not None else None
    if transpose is None or transpose.op_type != "Transpose":
        return None
    if list(transpose.attributes["perm"].as_ints()) != _SWAP:
        return None
    split = transpose.inputs[0]
    reshape = split.producer() if split is not None else None
    if reshape is None or reshape.op_type != "Reshape":
        return None
    tokens, shape = reshape.inputs[0], dims(split)
    inner = dims(tokens)
    if tokens is None or shape is None or inner is None or len(inner) not in (3, 4):
        return None
    heads, size = shape[2], shape[3]
    if not isinstance(heads, int) or not isinstance(size, int) or inner[-1] != heads * size:
        return None
    return _Operand(tokens, reshape, heads)


def _merged_heads(value: ir.Value) -> ir.Value | None:
    transpose = sole_user(value)
    if transpose is None or transpose.op_type != "Transpose":
        return None
    if list(transpose.attributes["perm"].as_ints()) != _SWAP:
        return None
    reshape = sole_user(transpose.outputs[0])
    if reshape is None or reshape.op_type != "Reshape":
        return None
    before, after = dims(value), dims(reshape.outputs[0])
    if before is None or after is None or len(after) != 3:
        return None
    heads, size = before[1], before[3]
    if not isinstance(heads, int) or not isinstance(size, int) or after[2] != heads * size:
        return None
    return reshape.outputs[0]
