"""The same interventions made on diffusers' own module, by hooks and by its own options."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from exporter.call import call
from exporter.sample.experiments.wish import Wish
from exporter.sample.experiments.words import Text

ENDS = {"attn": ("attn1", "attn2"), "cross": ("attn2",), "self": ("attn1",), "ff": ("ff",)}


def answer(
    unet: Any, fed: Mapping[str, torch.Tensor], wish: Wish | None, text: Text
) -> torch.Tensor:
    """What the UNet returns for (R, C, H, W), a wish being done to it."""
    if wish is None:
        return call(unet, fed)
    if wish.kind == "guidance":
        out, factor = call(unet, fed), wish.factors[0]
        uncond, cond = out.chunk(2)
        if wish.place == "uncond":
            return torch.cat([factor * uncond + (1 - factor) * cond, cond])
        return torch.cat([uncond, factor * cond + (1 - factor) * uncond])
    if wish.kind == "word" and not wish.factors[0] and "/" not in wish.place:
        return call(unet, {**fed, "encoder_attention_mask": _mask(wish, text)})
    with changed(unet, wish, text):
        return call(unet, fed)


def _mask(wish: Wish, text: Text) -> torch.Tensor:
    """diffusers' own: what is kept of every row."""
    kept = torch.ones(text.rows, text.tokens)
    kept[-1, list(text.find(wish.place, ""))] = 0
    return kept


def _louder(unet: Any, wish: Wish, text: Text) -> list[Any]:
    """A bias on the scores of cross-attentions, as their own argument takes one."""
    word, _, where = wish.place.partition("/")
    place, _, number = where.partition("#")
    tokens = list(text.find(word, ""))
    added = math.log(wish.factors[0]) if wish.factors[0] else -10_000.0

    def hook(attention: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        bias = torch.zeros(text.rows, attention.heads, 1, text.tokens)
        for head in [int(number) - 1] if number else range(attention.heads):
            bias[-1, head, 0, tokens] = added
        return args, {**kwargs, "attention_mask": bias.flatten(0, 1).to(args[0].dtype)}

    return [
        module.register_forward_pre_hook(hook, with_kwargs=True)
        for name, module in unet.named_modules()
        if name.startswith(place) and name.endswith("attn2")
    ]


def _head(unet: Any, place: str, number: str, factor: float) -> list[Any]:
    def hook(attention: Any) -> Callable[..., torch.Tensor]:
        def scaled(_: Any, __: Any, values: torch.Tensor) -> torch.Tensor:
            apart = list(values.chunk(attention.heads, dim=-1))
            apart[int(number) - 1] = factor * apart[int(number) - 1]
            return torch.cat(apart, dim=-1)

        return scaled

    return [
        module.to_v.register_forward_hook(hook(module))
        for name, module in unet.named_modules()
        if name.startswith(place) and name.endswith("attn2")
    ]


def _swap(unet: Any, one: list[int], other: list[int]) -> list[Any]:
    def hook(_: Any, __: Any, values: torch.Tensor) -> torch.Tensor:
        order = torch.arange(values.shape[1])
        order[one + other] = torch.tensor(other + one)
        return torch.cat([values[:-1], values[-1:, order]])  # no value is written in place

    return [
        module.register_forward_hook(hook)
        for name, module in unet.named_modules()
        if name.endswith("attn2.to_v")
    ]


@contextmanager
def changed(unet: Any, wish: Wish, text: Text) -> Iterator[None]:
    """Hooks on the modules that a wish names; gone afterwards."""
    if wish.kind == "freeu":
        unet.enable_freeu(*wish.factors)
        yield
        unet.disable_freeu()
        return
    factor = wish.factors[0] if wish.factors else 0.0
    if wish.kind == "skip":
        hooks = _skip(unet, int(wish.place), factor)
    elif wish.kind == "head":
        hooks = _head(unet, *wish.place.split("#"), factor)
    elif wish.kind == "word":
        hooks = _louder(unet, wish, text)
    elif wish.kind == "swap":
        one, other = (list(text.find(word, "")) for word in wish.place.split(","))
        hooks = _swap(unet, one, other)
    else:
        hooks = [
            module.register_forward_hook(lambda _, __, out: factor * out)
            for module in _scaled(unet, wish)
        ]
    assert hooks
    yield
    for hook in hooks:
        hook.remove()


def _scaled(unet: Any, wish: Wish) -> Iterator[torch.nn.Module]:
    for name, module in unet.named_modules():
        if wish.place != "all" and not name.startswith(wish.place):
            continue
        if name.rpartition(".")[2] in _last(wish.kind):
            yield module


def _last(kind: str) -> tuple[str, ...]:
    branches = {
        "resnet": ("conv2",),
        "transformer": ("proj_out",),
        "block": ("conv2", "proj_out"),
        "time": ("time_emb_proj",),
    }
    return {**ENDS, **branches}[kind]


def _skip(unet: Any, number: int, factor: float) -> list[Any]:
    """Skips are numbered as they are made; the last one made is taken first."""
    made = sum(len(block.resnets) + (block.downsamplers is not None)
               for block in unet.down_blocks) + 1  # fmt: skip
    left, hooks = made, []
    for block in unet.up_blocks:
        left -= len(block.resnets)
        if left <= number < left + len(block.resnets):
            hook = _scaling_of_skip(number - left, factor)
            hooks.append(block.register_forward_pre_hook(hook, with_kwargs=True))
    return hooks


def _scaling_of_skip(index: int, factor: float) -> Callable[..., Any]:
    def hook(_: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        skips = list(kwargs["res_hidden_states_tuple"])
        skips[index] = factor * skips[index]
        return args, {**kwargs, "res_hidden_states_tuple": tuple(skips)}

    return hook
