"""What each unit alone costs when it computes in half precision: one look at all of them.

Every unit runs in float32, and once more in half on the same input. What the difference does
to the output is first-order: with ``J`` the derivative of the output by a unit's value and
``d`` the difference, the output moves by ``J d``. Its length is estimated without ever forming
``J``: for a random ``v`` of independent normal numbers, ``(v . J d)^2`` is ``|J d|^2`` on
average, and ``v J`` is one backward pass for all units at once (Hutchinson's estimator).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten

from exporter.call import call
from exporter.parity.precision import HalfStorage

PROBES = 8
"""Random directions; the estimate is good to about 1/sqrt(2 * 8), a quarter."""


def profile(
    unet: torch.nn.Module,
    inputs: Mapping[str, torch.Tensor],
    paths: Sequence[str],
    dtype: torch.dtype,
) -> dict[str, float]:
    """The relative error that each unit alone would put into the output.

    Args:
        unet: In float32, with its own weights; no parameter needs a gradient.
        inputs: Graph inputs by name.
        paths: The units.
        dtype: The half type.

    Returns:
        Relative error by path; infinite where the unit leaves the range of ``dtype``.
    """
    moved: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {}
    with (
        torch.inference_mode(mode=False),
        torch.enable_grad(),
        _watched(unet, paths, dtype, moved),
    ):
        output = call(unet, inputs)
    scale = float(output.detach().double().norm())
    found = dict.fromkeys(paths, 0.0)
    found |= {
        path: math.inf
        for path, pairs in moved.items()
        if not all(torch.isfinite(delta).all() for _, delta in pairs)
    }
    leaves = [leaf for pairs in moved.values() for leaf, _ in pairs]
    generator = torch.Generator().manual_seed(0)
    squares = dict.fromkeys(moved, 0.0)
    for _ in range(PROBES):
        probe = torch.randn(output.shape, generator=generator)
        gradients = iter(
            torch.autograd.grad(output, leaves, probe, retain_graph=True, allow_unused=True)
        )
        for path, pairs in moved.items():
            dots = [_dot(next(gradients), delta) for _, delta in pairs]
            squares[path] += sum(dots) ** 2 / PROBES
    for path, square in squares.items():
        if math.isfinite(found[path]):
            found[path] = math.sqrt(square) / scale if scale else 0.0
    return found


@contextmanager
def _watched(
    unet: torch.nn.Module,
    paths: Sequence[str],
    dtype: torch.dtype,
    moved: dict[str, list[tuple[torch.Tensor, torch.Tensor]]],
) -> Iterator[None]:
    """Adds a zero to what each unit returns, to differentiate by; notes its half's error."""

    def watch(path: str, half: torch.nn.Module) -> Any:
        def watched(_: torch.nn.Module, args: Any, kwargs: Any, output: Any) -> Any:
            with torch.no_grad(), HalfStorage():
                theirs = half(*_cast(args, dtype), **_cast(kwargs, dtype))
            values, form = tree_flatten(_plain(output))
            halves = tree_leaves(_plain(theirs))
            for index, (value, rounded) in enumerate(zip(values, halves, strict=True)):
                if isinstance(value, torch.Tensor) and value.is_floating_point():
                    leaf = torch.zeros_like(value, requires_grad=True)
                    delta = rounded.float() - value.detach()
                    moved.setdefault(path, []).append((leaf, delta))
                    values[index] = value + leaf
            return _like(output, tree_unflatten(values, form))

        return watched

    with ExitStack() as hooks:
        for path in paths:
            module = unet.get_submodule(path)
            half = torch.nn.Module.to(copy.deepcopy(module), dtype)
            hook = module.register_forward_hook(watch(path, half), with_kwargs=True)
            hooks.callback(hook.remove)
        yield


def _plain(output: Any) -> Any:
    """A diffusers output, a dictionary of another class, as a tuple."""
    return tuple(output.values()) if isinstance(output, dict) else output


def _like(output: Any, plain: Any) -> Any:
    if not isinstance(output, dict):
        return plain
    return type(output)(**dict(zip(output.keys(), plain, strict=True)))


def _cast(values: Any, dtype: torch.dtype) -> Any:
    def one(value: Any) -> Any:
        moves = isinstance(value, torch.Tensor) and value.dtype == torch.float32
        return value.detach().to(dtype) if moves else value

    return tree_map(one, values)


def _dot(gradient: torch.Tensor | None, delta: torch.Tensor) -> float:
    """0 where nothing of the output depends on it."""
    if gradient is None:
        return 0.0
    return float((gradient.double() * delta.double()).sum())
