"""Runs a module in another floating dtype without converting, or copying, its parameters."""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

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
