"""Timesteps and sigmas from ``num_inference_steps``, in the graph, as numpy computes them.

diffusers spaces timesteps in float64 and rounds; so do these, with ONNX's Range, Round (both
round halves to even) and Div. Source: the ``set_timesteps`` of diffusers' schedulers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from exporter.sampler.expr import DOUBLE, INT64, Dim, Expr, constant, gather, op, where

ROUNDS = "N"
"""Symbol for the number of evaluations of the UNet."""


def limited(steps: Expr, limit: int) -> Expr:
    """The same number; ONNX Runtime fails at run time outside 0 to ``limit``.

    ONNX has no assertion. A ``Gather`` out of bounds is one, and its name is the message.
    """
    table = constant(np.arange(limit + 1), INT64, "allowed_steps")
    index = where(steps < 0, limit + 1, steps)
    return gather(table, index).named(f"num_inference_steps must be 0 to {limit}")


def count_up(count: Expr, symbol: str = ROUNDS) -> Expr:
    """0, 1, ... ``count`` - 1 as int64."""
    zero, one = constant(0, INT64), constant(1, INT64)
    return op("Range", zero, count, one, shape=(symbol,))


def linspace(stop: float, count: Expr, symbol: str = ROUNDS) -> Expr:
    """``numpy.linspace(0, stop, count)`` in float64; ``count`` of 1 gives 0."""
    index = count_up(count, symbol)
    gaps = op("Max", count - 1, constant(1, INT64)).to(DOUBLE)
    spaced = index.to(DOUBLE) * (stop / gaps)
    last = index.equals(count - 1) & (count > 1)
    return where(last, stop, spaced)


def downwards(start: float, ratio: Expr) -> tuple[Expr, Expr]:
    """``numpy.arange(start, 0, -ratio)`` in float64, and how many they are.

    The count is not always the number of steps: start / ratio may be a rounding too large.
    """
    gap = (constant(start, DOUBLE) - ratio) - start
    count = op("Ceil", start / ratio).to(INT64)
    return start + count_up(count).to(DOUBLE) * gap, count


def interpolate(x: Expr, table: np.ndarray, name: str) -> Expr:
    """``numpy.interp(x, arange(len(table)), table)`` in float64."""
    values, last = constant(table.astype(np.float64), DOUBLE, name), len(table) - 1
    x = op("Clip", x.to(DOUBLE), constant(0.0, DOUBLE), constant(float(last), DOUBLE))
    low = op("Floor", x)
    index = low.to(INT64)
    below = gather(values, index)
    above = gather(values, op("Min", index + 1, constant(last, INT64)))
    return (above - below) * (x - low) + below


def karras(sigma_min: Expr, sigma_max: Expr, count: Expr, rho: float = 7.0) -> Expr:
    """Karras' noise levels, float64, largest first (https://arxiv.org/abs/2206.00364, (5))."""
    ramp = linspace(1.0, count)
    power = constant(1 / rho, DOUBLE)
    low = op("Pow", sigma_min, power).named("min_inv_rho")
    high = op("Pow", sigma_max, power).named("max_inv_rho")
    return op("Pow", high + ramp * (low - high), constant(rho, DOUBLE)).named("karras_sigmas")


def sigma_to_t(sigmas: Expr, log_table: np.ndarray) -> Expr:
    """The fractional timestep of each noise level, float64.

    Args:
        sigmas: float64, one axis.
        log_table: Logarithms of the training sigmas, float32, rising.
    """
    last = len(log_table) - 2
    log_sigma = op("Log", op("Max", sigmas, constant(1e-10, DOUBLE))).named("log_sigma")
    column = _unsqueeze(log_sigma, -1, (*log_sigma.shape, 1))
    table = constant(log_table.astype(np.float64), DOUBLE, "log_sigmas")
    reached = (column >= table).to(INT64)  # rows of ones, then zeros: the table rises
    total = op(
        "ReduceSum",
        reached,
        constant(np.array([1]), INT64, "axis"),
        attributes={"keepdims": 0},
        shape=log_sigma.shape,
    )
    low = op("Clip", total - 1, constant(0, INT64), constant(last, INT64)).named("low_idx")
    gaps = (log_table[:-1] - log_table[1:]).astype(np.float64)  # float32 before, as diffusers
    share = (gather(table, low) - log_sigma) / gather(constant(gaps, DOUBLE, "gaps"), low)
    w = op("Clip", share, constant(0.0, DOUBLE), constant(1.0, DOUBLE)).named("w")
    return (1.0 - w) * low.to(DOUBLE) + w * (low + 1).to(DOUBLE)


def first(table: Expr) -> Expr:
    """The first element, as a scalar."""
    return gather(table, constant(0, INT64))


def last(table: Expr) -> Expr:
    """The last element, as a scalar."""
    return gather(table, constant(-1, INT64))


def length(table: Expr) -> Expr:
    """Number of elements, as a scalar."""
    size = op("Shape", table, dtype=INT64, shape=(1,))
    return op("Squeeze", size, shape=())


def turned(table: Expr) -> Expr:
    """A table of one axis from its end to its start."""
    return gather(table, length(table) - 1 - count_up(length(table), str(table.shape[0])))


def appended(table: Expr, value: Expr, symbol: Dim) -> Expr:
    """A table of one axis with a scalar behind it."""
    row = _unsqueeze(value, 0, (1,))
    return op("Concat", table, row, attributes={"axis": 0}, shape=(symbol,))


def _unsqueeze(value: Expr, axis: int, shape: Sequence[Dim]) -> Expr:
    axes = constant(np.array([axis]), INT64, "axis")
    return op("Unsqueeze", value, axes, shape=shape)
