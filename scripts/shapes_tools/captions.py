"""What the text encoder learns first: to tell from a caption where things will be."""

from __future__ import annotations

from typing import Any

import torch

from shapes_tools.autoencoder import Report
from shapes_tools.data import Pool
from shapes_tools.pace import pace

_WARM_UP = 100  # steps


def teach_captions(
    text: Any, pool: Pool, end: int, recipe: dict[str, Any], seed: int, report: Report
) -> None:
    """Trains a text encoder to predict a scene's mean latents from the tokens that end it.

    Learned together with the UNet alone, "left of" stays without effect for thousands of
    steps: CLIP's attention is causal, so that only the last tokens can know which thing lies
    where, and the noise hides it from them. Here a linear layer reads it from them; it takes
    a minute, and the layer is thrown away.

    Args:
        text: A ``CLIPTextModel``; changed in place.
        pool: The scenes.
        end: Token id of the end, which also pads.
        recipe: ``steps``, ``batch``, ``learning_rate``.
        seed: Of the layer and the order.
        report: Told each step and its loss, as a part of the latents' variance.
    """
    torch.manual_seed(seed)
    wanted = pool.latents.flatten(1)
    variance = wanted.var(0).mean().item()
    reader = torch.nn.Linear(text.config.hidden_size, wanted.shape[1])
    optimizer = torch.optim.AdamW(
        [*text.parameters(), *reader.parameters()], recipe["learning_rate"], weight_decay=1e-3
    )
    for step in range(recipe["steps"]):
        for group in optimizer.param_groups:
            group["lr"] = recipe["learning_rate"] * pace(step, recipe["steps"], _WARM_UP)
        chosen = torch.randint(len(pool), (recipe["batch"],))
        ids = pool.ids[chosen]
        rows, places = (ids == end).nonzero(as_tuple=True)
        states = text(ids).last_hidden_state[rows, places]
        loss = (reader(states) - wanted[chosen][rows]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(text.parameters(), 1.0)
        optimizer.step()
        report(step, loss.item() / variance)
