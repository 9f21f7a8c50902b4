"""What is measured, as ONNX operators: moments, norms, attention probabilities.

Everything is computed in float32, in two steps (along the last axis, then along the rest),
which keeps float32 sums of millions of terms accurate and gives every core a share.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from exporter.errors import UsageError
from exporter.sample.scope import Scope

_TINY = 1e-30


def column(scope: Scope, rows: Sequence[ir.Value]) -> ir.Value:
    """Stacks K vectors of length B: (K, B)."""
    raised = [scope.op("Unsqueeze", [row, scope.ints(0)]) for row in rows]
    return scope.op("Concat", raised, axis=0) if len(raised) > 1 else raised[0]


def moments(scope: Scope, value: ir.Value) -> ir.Value:
    """Mean, mean square, minimum and maximum of each sample: (4, B).

    Args:
        scope: Where ``value`` is.
        value: (B, C, H, W) or (B, N, C) of any float type.
    """
    x = _as_rows(scope, value)
    means = scope.op("ReduceMean", [x, scope.ints(2)], keepdims=0)
    mean = scope.op("ReduceMean", [means, scope.ints(1)], keepdims=0)
    least = scope.op("ReduceMin", [x, scope.ints(1, 2)], keepdims=0)
    most = scope.op("ReduceMax", [x, scope.ints(1, 2)], keepdims=0)
    return column(scope, [mean, _mean_square(scope, x), least, most])


def mean_square(scope: Scope, value: ir.Value) -> ir.Value:
    """Mean of squares of each sample: (B,). See ``moments`` for the arguments."""
    return _mean_square(scope, _as_rows(scope, value))


def summands(scope: Scope, add: ir.Node, branch: int) -> tuple[ir.Value, ir.Value]:
    """Both operands of a residual Add up to their sign, without reading a convolution.

    ONNX Runtime fuses an Add into a convolution before it only while nobody else reads that
    convolution's result; reading it would change the last bits of the sum. So the branch is
    the sum less the trunk, and a trunk that is itself a convolution (a resnet's shortcut) is
    convolved once more with input and bias negated, which is exact and cannot be merged.

    Args:
        scope: Where the Add is.
        add: The Add.
        branch: Which operand is the branch.

    Returns:
        Branch and trunk.
    """
    trunk = add.inputs[1 - branch]
    assert trunk is not None
    convolution = trunk.producer()
    if convolution is None or convolution.op_type != "Conv":
        return scope.op("Sub", [add.outputs[0], trunk], trunk.dtype), trunk
    x, weight, *bias = (value for value in convolution.inputs if value is not None)
    negated = [scope.op("Neg", [value], value.dtype) for value in (x, *bias)]
    mirror = scope.op(
        "Conv",
        [negated[0], weight, *negated[1:]],
        trunk.dtype,
        **{name: attribute.value for name, attribute in convolution.attributes.items()},
    )
    return scope.op("Add", [add.outputs[0], mirror], trunk.dtype), mirror


def spread_over(scope: Scope, value: ir.Value, like: ir.Value) -> ir.Value:
    """(1,) or (B,) as (B,): a timestep shared by the batch counts for every sample."""
    size = scope.op("Shape", [like], ir.DataType.INT64)
    return scope.op("Expand", [value, size])


def probabilities(scope: Scope, node: ir.Node, heads: int) -> ir.Value:
    """Attention probabilities (B, heads, N, S), recomputed where the operator hides them.

    Args:
        scope: Where the node is.
        node: An ``Attention``, 3-D or 4-D, or the Softmax of a decomposed one.
        heads: Number of heads.

    Raises:
        UsageError: An attention with a boolean mask, a causal flag, a softcap or grouped
            heads.
    """
    if node.op_type == "Softmax":
        return _float(scope, node.outputs[0])
    _refuse_unlike_diffusers(node)
    q, k = (_float(scope, operand) for operand in node.inputs[:2] if operand is not None)
    if "q_num_heads" in node.attributes:  # 3-D: (B, N, heads * d)
        split = scope.ints(0, 0, heads, -1)
        q = scope.op("Transpose", [scope.op("Reshape", [q, split])], perm=[0, 2, 1, 3])
        k = scope.op("Transpose", [scope.op("Reshape", [k, split])], perm=[0, 2, 3, 1])
    else:
        k = scope.op("Transpose", [k], perm=[0, 1, 3, 2])
    scores = scope.op("MatMul", [scope.op("Mul", [q, _scale(scope, node, q)]), k])
    bias = node.inputs[3] if len(node.inputs) > 3 else None
    if bias is not None:  # an experiment's
        scores = scope.op("Add", [scores, _float(scope, bias)])
    return scope.op("Softmax", [scores], axis=-1)


def entropy(scope: Scope, p: ir.Value) -> ir.Value:
    """Entropy in nats, averaged over heads and queries: (B,).

    Args:
        scope: Where ``p`` is.
        p: Probabilities (B, heads, N, S).
    """
    log = scope.op("Log", [scope.op("Max", [p, scope.number(_TINY)])])
    terms = scope.op("ReduceSum", [scope.op("Mul", [p, log]), scope.ints(3)], keepdims=0)
    return scope.op("Neg", [scope.op("ReduceMean", [terms, scope.ints(1, 2)], keepdims=0)])


def token_maps(scope: Scope, p: ir.Value) -> ir.Value:
    """Probabilities averaged over heads, one map of N pixels a token: (B, S, N)."""
    mean = scope.op("ReduceMean", [p, scope.ints(1)], keepdims=0)
    return scope.op("Transpose", [mean], perm=[0, 2, 1])


def places_maps(scope: Scope, p: ir.Value) -> ir.Value:
    """Probabilities averaged over heads, a row a query: (B, N, S)."""
    return scope.op("ReduceMean", [p, scope.ints(1)], keepdims=0)


def head_maps(scope: Scope, p: ir.Value) -> ir.Value:
    """Probabilities of each head, one map of N pixels a token: (B, heads, S, N)."""
    return scope.op("Transpose", [p], perm=[0, 1, 3, 2])


def _float(scope: Scope, value: ir.Value) -> ir.Value:
    """As float32; ONNX Runtime drops the Cast where it changes nothing."""
    return scope.op("Cast", [value], to=ir.DataType.FLOAT)


def _as_rows(scope: Scope, value: ir.Value) -> ir.Value:
    return scope.op("Reshape", [_float(scope, value), scope.ints(0, 0, -1)])


def _mean_square(scope: Scope, x: ir.Value) -> ir.Value:
    sums = scope.op("ReduceSumSquare", [x, scope.ints(2)], keepdims=0)
    mean = scope.op("ReduceMean", [sums, scope.ints(1)], keepdims=0)
    length = scope.op("Shape", [x], ir.DataType.INT64, start=2, end=3)
    return scope.op("Div", [mean, scope.op("Cast", [length], to=ir.DataType.FLOAT)])


def _scale(scope: Scope, node: ir.Node, q: ir.Value) -> ir.Value:
    given = node.attributes.get("scale")
    if given is not None:
        return scope.number(given.as_float())
    size = scope.op("Shape", [q], ir.DataType.INT64, start=3, end=4)
    root = scope.op("Sqrt", [scope.op("Cast", [size], to=ir.DataType.FLOAT)])
    return scope.op("Reciprocal", [root])


def _refuse_unlike_diffusers(node: ir.Node) -> None:
    attributes = {name: attribute.value for name, attribute in node.attributes.items()}
    added = node.inputs[3] if len(node.inputs) > 3 else None
    masked = (added is not None and added.dtype == ir.DataType.BOOL) or any(
        operand is not None for operand in node.inputs[4:]
    )
    capped = bool(attributes.get("is_causal", 0) or attributes.get("softcap", 0.0))
    grouped = attributes.get("q_num_heads") != attributes.get("kv_num_heads")
    if masked or capped or grouped:
        raise UsageError(
            f"{node.name} has a mask, a softcap or grouped heads",
            "the plain attention of a diffusers UNet",
            "record with --maps none",
        )
