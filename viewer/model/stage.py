"""The level above the U: what a sampler's or a text-to-image file does around its UNet."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from viewer.model.tree import Node, Tree

LOOP = "Loop"
_MOST = 10_000
"""Training timesteps at most: a hostile config must not ask for more."""


@dataclass(frozen=True)
class Stage:
    """The sampling stage of a file.

    Attributes:
        encoders: Text encoders, in order; none in a sampler's file.
        schedule: Where timesteps and tables are computed.
        halves: Where the halves without and with text become one batch.
        loop: The ``Loop``.
        state: Names of what one round leaves to the next.
        unet: The UNet in it.
        guidance: Where the halves meet; None without guidance.
        step: The scheduler's step.
        decoder: Of the VAE; None in a sampler's file.
        scheduler: diffusers' class.
        formula: Of the step, in one line.
        config: The scheduler's.
        alphas: Share of the signal's variance at each training timestep; empty if the config
            does not tell.
    """

    encoders: tuple[int, ...]
    schedule: int | None
    halves: tuple[int, ...]
    loop: int
    state: tuple[str, ...]
    unet: int
    guidance: int | None
    step: int | None
    decoder: int | None
    scheduler: str
    formula: str
    config: Mapping[str, Any]
    alphas: tuple[float, ...]


def find_stage(tree: Tree, sampler: Mapping[str, Any]) -> Stage | None:
    """The loop around the UNet; None in a file without one.

    Args:
        tree: Of the file.
        sampler: ``atlas.sampler`` (docs/FORMAT.md); may be empty.
    """
    loop = next((n for n in tree.nodes if n.op == LOOP and n.children), None)
    if loop is None:
        return None
    inside = [tree.nodes[child] for child in loop.children]
    unet = _first(inside, "UNet")
    if unet is None:
        return None
    outside = [
        node for node in tree.nodes if node.kind == "call" and not _in(tree, node, loop)
    ]
    steps = [n for n in inside if n.kind == "call" and n.role == "scheduler_step"]
    step = next((n for n in steps if n.op != "ScaleModelInput"), None)
    raw = sampler.get("config")
    config = raw if isinstance(raw, dict) else {}
    return Stage(
        encoders=tuple(n.id for n in outside if n.op.startswith("TextEncoder")),
        schedule=_id(_first(outside, "Schedule")),
        halves=tuple(n.id for n in (*outside, *inside) if n.op.startswith("Halves")),
        loop=loop.id,
        state=loop.formals,
        unet=unet.id,
        guidance=_id(_first(inside, "Guidance")),
        step=_id(step),
        decoder=_id(_first(outside, "ImageDecoder")),
        scheduler=str(sampler.get("scheduler", "")),
        formula=step.doc.rpartition("\n\n")[2] if step else "",
        config=config,
        alphas=signal_shares(config),
    )


def _in(tree: Tree, node: Node, loop: Node) -> bool:
    return any(one.id == loop.id for one in tree.ancestors(node))


def _first(nodes: Iterable[Node], op: str) -> Node | None:
    return next((node for node in nodes if node.kind == "call" and node.op == op), None)


def _id(node: Node | None) -> int | None:
    return None if node is None else node.id


def signal_shares(config: Mapping[str, Any]) -> tuple[float, ...]:
    """``alphas_cumprod`` of a scheduler's config, as diffusers computes it.

    Source: ``__init__`` of the schedulers in diffusers; ``rescale_zero_terminal_snr`` after
    https://arxiv.org/abs/2305.08891, algorithm 1.
    """
    try:
        betas = _betas(config)
        shares, product = [], 1.0
        for beta in betas:
            product *= 1.0 - beta
            shares.append(product)
        if config.get("rescale_betas_zero_snr"):
            shares = _without_signal_at_the_end(shares)
    except (TypeError, ValueError, OverflowError):  # a hostile config
        return ()
    known = all(math.isfinite(share) and 0 <= share <= 1 for share in shares)
    return tuple(shares) if known else ()


def _betas(config: Mapping[str, Any]) -> Sequence[float]:
    trained = config.get("trained_betas")
    if isinstance(trained, list):
        return [float(beta) for beta in trained[:_MOST]]
    count = min(
        int(config["num_train_timesteps"]) if "num_train_timesteps" in config else 0, _MOST
    )
    first, last = float(config.get("beta_start", 0)), float(config.get("beta_end", 0))
    kind = config.get("beta_schedule")
    if kind == "linear":
        return [_between(first, last, i, count) for i in range(count)]
    if kind == "scaled_linear":
        return [
            _between(math.sqrt(first), math.sqrt(last), i, count) ** 2 for i in range(count)
        ]
    if kind == "squaredcos_cap_v2":
        return [
            min(1 - _cosine((i + 1) / count) / _cosine(i / count), 0.999) for i in range(count)
        ]
    return []


def _between(first: float, last: float, index: int, count: int) -> float:
    return first + (last - first) * index / max(count - 1, 1)


def _cosine(time: float) -> float:
    return math.cos((time + 0.008) / 1.008 * math.pi / 2) ** 2


def _without_signal_at_the_end(shares: Sequence[float]) -> list[float]:
    roots = [math.sqrt(share) for share in shares]
    first, last = roots[0], roots[-1]
    return [((root - last) * first / (first - last)) ** 2 for root in roots]
