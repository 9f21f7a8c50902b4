"""What PyTorch computes inside a diffusers UNet, by hooks: the other side of a recording."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from exporter.sample.points import Points

Found = dict[tuple[str, str], torch.Tensor]


@contextmanager
def listening(unet: torch.nn.Module, points: Points) -> Iterator[Found]:
    """Fills a dictionary with tensors by kind and module path while the UNet runs.

    Kinds: ``out`` (a module's result), ``branch`` and ``trunk`` (of a residual), ``vector``
    and ``image`` (of an injection), ``joined`` (what a resnet of the up path takes), and
    ``map`` (attention probabilities averaged over heads: B, S, N); ``to_q`` and ``to_k`` of
    self-attentions.
    """
    found: Found = {}
    modules = dict(unet.named_modules())
    hooks = []

    def keep(kind: str, path: str, module: torch.nn.Module | None = None) -> None:
        def hook(_: Any, inputs: Any, output: Any) -> None:
            found[kind, path] = _tensor(output)

        hooks.append((module or modules[path]).register_forward_hook(hook))

    def keep_input(kind: str, path: str, module: torch.nn.Module) -> None:
        def hook(_: Any, inputs: Any) -> None:
            found[kind, path] = inputs[0]

        hooks.append(module.register_forward_pre_hook(hook))

    for block in points.blocks:
        keep("out", block.module)
    for injection in points.injections:
        resnet: Any = modules[injection.module]
        keep("vector", injection.module, resnet.time_emb_proj)
        keep("image", injection.module, resnet.conv1)
        keep_input("joined", injection.module, resnet)
    for residual in points.residuals:
        _keep_residual(residual.module, residual.role, modules, keep, keep_input)
    _keep_selves(points, modules, keep)
    with _probabilities(modules, points, found):
        yield found
    for hook in hooks:
        hook.remove()


def _keep_selves(points: Points, modules: Any, keep: Any) -> None:
    for attention in points.selves:
        for kind in ("to_q", "to_k"):
            keep(kind, attention.module, getattr(modules[attention.module], kind))


def _keep_residual(path: str, role: str, modules: Any, keep: Any, keep_input: Any) -> None:
    module = modules[path]
    if role == "resnet":
        keep("branch", path, module.conv2)
        if module.conv_shortcut is not None:
            keep("trunk", path, module.conv_shortcut)
        else:
            keep_input("trunk", path, module)
    elif role == "transformer":
        keep_input("trunk", path, module)  # its branch is the result less this
    else:  # attn1, attn2 or ff after norm1, norm2 or norm3
        block, _, name = path.rpartition(".")
        norm = {"attn1": "norm1", "attn2": "norm2", "ff": "norm3"}[name]
        keep("branch", path, module)
        keep_input("trunk", path, modules[f"{block}.{norm}"])


@contextmanager
def _probabilities(modules: Any, points: Points, found: Found) -> Iterator[None]:
    before = {a.module: modules[a.module].processor for a in points.attentions}
    for path in before:
        modules[path].processor = _Explicit(path, found)
    yield
    for path, processor in before.items():
        modules[path].processor = processor


class _Explicit:
    """diffusers' ``AttnProcessor`` (no fused kernel), which can be looked into."""

    def __init__(self, path: str, found: Found) -> None:
        self._path, self._found = path, found

    def __call__(
        self, attn: Any, hidden_states: Any, encoder_hidden_states: Any = None, **_: Any
    ) -> torch.Tensor:
        query = attn.head_to_batch_dim(attn.to_q(hidden_states))
        key = attn.head_to_batch_dim(attn.to_k(encoder_hidden_states))
        value = attn.head_to_batch_dim(attn.to_v(encoder_hidden_states))
        probabilities = attn.get_attention_scores(query, key)
        batch = hidden_states.shape[0]
        heads = probabilities.reshape(batch, -1, *probabilities.shape[1:])
        self._found["heads", self._path] = heads
        self._found["map", self._path] = heads.mean(1).transpose(1, 2)
        mixed = attn.batch_to_head_dim(torch.bmm(probabilities, value))
        result: torch.Tensor = attn.to_out[0](mixed)
        return result


def _tensor(output: Any) -> torch.Tensor:
    """The image among what a module returns: down blocks return their skips too."""
    while not isinstance(output, torch.Tensor):
        output = output[0]
    return output
