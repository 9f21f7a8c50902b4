"""The UNet and the text encoder, trained together to predict noise."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import diffusers
import torch
from torch.nn.functional import adaptive_avg_pool2d

from shapes_tools.attention import SMALLEST_MAP, maps, watch
from shapes_tools.data import Pool
from shapes_tools.pace import pace
from shapes_tools.text import encode, make_text_encoder

_WARM_UP = 200  # steps


@dataclass
class Training:
    """All that a training run is: what is saved and what goes on.

    Args:
        recipe: ``unet`` and ``text_encoder`` configurations, ``steps``, ``batch``,
            ``learning_rate``, ``text_pace`` (the text encoder's part of it), ``ema``,
            ``unconditional``, ``map_weight``.
        tokenizer: Of the captions.
        scheduler: Its ``alphas_cumprod`` and ``prediction_type`` are trained for.
        seed: Of weights, order and noise.
    """

    recipe: dict[str, Any]
    tokenizer: Any
    scheduler: Any
    seed: int
    step: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        torch.manual_seed(self.seed)
        unet = diffusers.UNet2DConditionModel(**self.recipe["unet"])
        text = make_text_encoder(self.recipe["text_encoder"], self.tokenizer)
        self.model = torch.nn.ModuleDict({"unet": unet, "text": text})
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.averaged = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.watched = watch(unet)
        self.optimizer = torch.optim.AdamW(
            [{"params": unet.parameters()}, {"params": text.parameters()}], weight_decay=1e-3
        )
        self.random = torch.Generator().manual_seed(self.seed)

    def learn(self, pool: Pool, empty: torch.Tensor) -> tuple[float, float]:
        """One step on a random batch; the loss of the noise and that of the maps.

        Args:
            pool: The scenes.
            empty: Token ids of the empty caption, (16,).
        """
        parts = (1.0, self.recipe["text_pace"])
        rate = self.recipe["learning_rate"] * pace(self.step, self.recipe["steps"], _WARM_UP)
        for group, part in zip(self.optimizer.param_groups, parts, strict=True):
            group["lr"] = rate * part
        noise_loss, map_loss = self._losses(pool, empty)
        self.optimizer.zero_grad()
        (noise_loss + self.recipe["map_weight"] * map_loss).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        kept = min(self.recipe["ema"], (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            pairs = zip(self.averaged.parameters(), self.model.parameters(), strict=True)
            for average, parameter in pairs:
                average.lerp_(parameter, 1 - kept)
        return noise_loss.item(), map_loss.item()

    def _losses(self, pool: Pool, empty: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        batch, random = self.recipe["batch"], self.random
        chosen = torch.randint(len(pool), (batch,), generator=random)
        latents, ids = pool.latents[chosen], pool.ids[chosen]
        dropped = torch.rand(batch, generator=random) < self.recipe["unconditional"]
        ids = torch.where(dropped[:, None], empty, ids)
        table = self.scheduler.alphas_cumprod
        timestep = torch.randint(len(table), (batch,), generator=random)
        alpha = table[timestep].view(-1, 1, 1, 1)
        noise = torch.randn(latents.shape, generator=random)
        noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
        velocity = alpha.sqrt() * noise - (1 - alpha).sqrt() * latents
        states = self.model["text"](ids).last_hidden_state
        predicted = self.model["unet"](noisy, timestep, states).sample
        noise_loss = (predicted - velocity).square().mean()
        things = torch.where(dropped[:, None], -1, pool.things[chosen])
        return noise_loss, self._map_loss(things, pool.masks[chosen], alpha.flatten())

    def _map_loss(
        self, things: torch.Tensor, masks: torch.Tensor, alpha: torch.Tensor
    ) -> torch.Tensor:
        """How far words look past their things; counts more the more can be seen."""
        told = (things >= 0).float()
        index = things.clamp(min=0)[:, :, None, None].expand(-1, -1, *masks.shape[-2:])
        wanted = masks.gather(1, index)  # (B, 16, 12, 12)
        losses = []
        for attention in maps(self.watched, SMALLEST_MAP).values():
            sized = adaptive_avg_pool2d(wanted, attention.shape[-1])
            inside = (attention * sized).sum((-2, -1)) / attention.sum((-2, -1))
            losses.append(-(inside + 1e-3).log())
        weight = told * alpha[:, None]
        mean = torch.stack(losses).mean(0)
        return (weight * mean).sum() / weight.sum().clamp(min=1e-6)

    def save(self, file: Path) -> None:
        """Everything that ``restore`` needs, written beside and renamed."""
        state = {
            "model": self.model.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": self.random.get_state(),
            "step": self.step,
        }
        part = file.with_suffix(".part")
        torch.save(state, part)
        part.replace(file)

    def restore(self, file: Path) -> None:
        """Goes on where ``save`` stopped."""
        state = torch.load(file, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.random.set_state(state["random"])
        self.step = state["step"]


@torch.inference_mode()
def sample(
    pipeline: Any,
    captions: list[str],
    *,
    steps: int,
    guidance: float,
    seed: int,
    on_step: Callable[[int], None] = lambda _: None,
) -> torch.Tensor:
    """Images of captions, (N, 48, 48, 3) uint8, by a ``StableDiffusionPipeline``'s parts.

    Args:
        pipeline: Anything with unet, text_encoder, tokenizer, vae and scheduler.
        captions: One an image.
        steps: Of the scheduler.
        guidance: Classifier-free guidance; 1 is none.
        seed: Of the initial noise.
        on_step: Called after each step's noise prediction, with the step's index.
    """
    ids = encode(pipeline.tokenizer, [*[""] * len(captions), *captions])
    states = pipeline.text_encoder(ids).last_hidden_state
    pipeline.scheduler.set_timesteps(steps)
    random = torch.Generator().manual_seed(seed)
    size = pipeline.unet.config.sample_size
    shape = (len(captions), pipeline.unet.config.in_channels, size, size)
    latents = torch.randn(shape, generator=random) * pipeline.scheduler.init_noise_sigma
    for index, timestep in enumerate(pipeline.scheduler.timesteps):
        both = pipeline.scheduler.scale_model_input(torch.cat([latents, latents]), timestep)
        without, given = pipeline.unet(both, timestep, states).sample.chunk(2)
        on_step(index)
        predicted = without + guidance * (given - without)
        latents = pipeline.scheduler.step(predicted, timestep, latents).prev_sample
    images = pipeline.vae.decode(latents / pipeline.vae.config.scaling_factor).sample
    pixels = (images.clamp(-1, 1) + 1) * 127.5
    finished: torch.Tensor = pixels.round().to(torch.uint8).permute(0, 2, 3, 1)
    return finished
