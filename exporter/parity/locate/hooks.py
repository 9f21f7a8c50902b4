"""Hooks on PyTorch: what every module and every torch call in a UNet returns, and where."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from exporter.runtime.origins import short_source

MODULE = "forward"


@dataclass(frozen=True)
class Call:
    """One tensor that PyTorch computed.

    Attributes:
        module: Path of the innermost module running.
        sources: ``diffusers/...py:line`` of every diffusers frame, the innermost first.
        operation: Name of the torch function, or ``forward`` for a module's output.
        tensor: The value, as computed.
        operands: Floating tensors that went in; empty for a module's output.
    """

    module: str
    sources: tuple[str, ...]
    operation: str
    tensor: torch.Tensor
    operands: tuple[torch.Tensor, ...] = ()


Hook = Callable[[Call], None]


@contextmanager
def hooked(
    unet: torch.nn.Module,
    hook: Hook,
    *,
    outputs: Collection[str] = (),
    calls: Collection[str] | None = (),
) -> Iterator[None]:
    """Call ``hook`` with what is computed while the context is open.

    Open it inside ``ComputeIn``, so that it sees the calls of the code and not its casts.

    Args:
        unet: The module that will run.
        hook: Called in order of execution; nothing is kept here.
        outputs: Modules whose return values are wanted.
        calls: Modules whose own torch calls are wanted; None for all of them.
    """
    stack: list[str] = []

    def leave(path: str) -> Callable[..., None]:
        def left(_: torch.nn.Module, __: Any, output: Any) -> None:
            stack.pop()
            if path in outputs:
                with torch._C.DisableTorchFunction():  # what we compute is not the UNet's
                    for tensor in _floats(output):
                        hook(Call(path, (), MODULE, tensor))

        return left

    with ExitStack() as hooks:
        for path, module in unet.named_modules():
            enter = lambda *_, path=path: stack.append(path)  # noqa: E731
            hooks.callback(module.register_forward_pre_hook(enter).remove)
            hooks.callback(module.register_forward_hook(leave(path)).remove)
        if calls is None or calls:
            hooks.enter_context(_Calls(stack, hook, calls))
        yield


class _Calls(TorchFunctionMode):
    """Sees each torch call as the code makes it, before any cast of ``ComputeIn``."""

    def __init__(self, stack: list[str], hook: Hook, calls: Collection[str] | None) -> None:
        super().__init__()
        self._stack, self._hook, self._calls = stack, hook, calls

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if getattr(func, "__name__", "").startswith("__"):
            return result
        module = self._stack[-1] if self._stack else ""  # between nets: the UNet's own
        if self._calls is None or module in self._calls:
            with torch._C.DisableTorchFunction():
                operands, sources = tuple(_floats((args, kwargs))), _sources()
                for tensor in _floats(result):
                    self._hook(Call(module, sources, func.__name__, tensor, operands))
        return result


def _floats(tree: Any) -> list[torch.Tensor]:
    leaves = tree_leaves(getattr(tree, "__dict__", None) or tree)
    return [x for x in leaves if isinstance(x, torch.Tensor) and x.is_floating_point()]


def _sources() -> tuple[str, ...]:
    found = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename.replace("\\", "/")
        if "/diffusers/" in file:
            found.append(short_source(file, frame.f_lineno))
        frame = frame.f_back
    return tuple(found)
