"""Runs a module in another precision without converting, or copying, its parameters."""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

_CASTS = {
    torch.Tensor.float: torch.float32,
    torch.Tensor.double: torch.float64,
    torch.Tensor.half: torch.float16,
    torch.Tensor.bfloat16: torch.bfloat16,
}


class ComputeIn(TorchFunctionMode):
    """Every torch call inside computes in ``dtype``, whatever its floating arguments are.

    Each parameter is cast at the call that uses it and dropped after it, so that a float64 run
    of a float32 UNet costs one layer more than the float32 run, not twice the weights. Casts
    that the code itself asks for are redirected as well: diffusers computes the timestep
    sinusoid ``.float()`` in every precision, which would hide its rounding from a reference.

    Args:
        dtype: The dtype to compute in.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Casts floating tensors and dtype arguments, then calls."""
        if getattr(func, "__name__", "") == "__get__":  # a property, e.g. `.shape`
            return func(*args, **(kwargs or {}))
        if func in _CASTS:
            return args[0].to(self.dtype)
        args, kwargs = tree_map(self._cast, (args, kwargs or {}))
        return func(*args, **kwargs)

    def _cast(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return value.to(self.dtype) if value.is_floating_point() else value
        if isinstance(value, torch.dtype):
            return self.dtype if value.is_floating_point else value
        return value


class HalfStorage(TorchFunctionMode):
    """Every torch call on half tensors computes in float32 and rounds what it returns.

    That is what a GPU does: products accumulate in float32, values between operators are half.
    PyTorch's own half kernels on a CPU are another set of roundings on every machine. Casts
    that the code asks for are left alone, so what diffusers or a kept module computes in
    float32 stays there.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Casts half tensors up, calls, and rounds the results to the type they would have."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in ("__get__", "to") or func in _CASTS:
            return func(*args, **kwargs)
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        half = next((x.dtype for x in tensors if x.dtype in _HALVES), None)
        if half is None:
            return func(*args, **kwargs)
        args, kwargs = tree_map(_widened, (args, kwargs))
        result = func(*args, **kwargs)
        if any(x.dtype is torch.float32 and x.ndim for x in tensors):
            return result  # PyTorch's own promotion
        return tree_map(lambda value: _rounded(value, half), result)


_HALVES = frozenset({torch.float16, torch.bfloat16})


def _widened(value: Any) -> Any:
    half = isinstance(value, torch.Tensor) and value.dtype in _HALVES
    return value.float() if half else value


def _rounded(value: Any, half: torch.dtype) -> Any:
    wide = isinstance(value, torch.Tensor) and value.dtype is torch.float32
    return value.to(half) if wide else value
