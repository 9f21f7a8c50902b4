"""What the UNet is told beside latents and timestep, for each half of guidance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import onnx_ir as ir

from exporter.sampler import guidance
from exporter.sampler.control import call
from exporter.sampler.expr import FLOAT, INT64, Dim, Expr, concat, dims, op, parameter, size
from exporter.sampler.scope import about

DOMAIN = "sampler"

PIPELINE_NAMES = {
    "encoder_hidden_states": ("prompt_embeds", "negative_prompt_embeds"),
    "text_embeds": ("pooled_prompt_embeds", "negative_pooled_prompt_embeds"),
    "time_ids": ("time_ids", "negative_time_ids"),
    "class_labels": ("class_labels", None),
}
"""Input of the UNet to the pipelines' names: with text, and without."""

KNOWN = ("sample", "timestep", "timestep_cond", *PIPELINE_NAMES)
"""Inputs that stay the same over the steps, or that the loop makes itself."""

INPAINTING = {"mask": 1, "masked_image_latents": 4}
"""What an inpainting UNet takes behind the four channels of the latents."""

HALVES_DOC = "The conditions without text and with text as one batch; one half up to scale 1."
LATENTS_DOC = "The latents once for each half."
GUIDANCE_DOC = """\
Classifier-free guidance (https://arxiv.org/abs/2207.12598): from the prediction without text
towards the one with text, `guidance_scale` times as far. `guidance_rescale` brings the spread
back (https://arxiv.org/abs/2305.08891)."""


@dataclass(frozen=True)
class Conditions:
    """Inputs of the graph that are not latents, noise or steps.

    Attributes:
        pairs: Input of the UNet to the graph inputs with text and (if any) without.
        extra: Channels that follow the latents, by name.
        scale: ``guidance_scale``; None for an unconditional UNet.
        rescale: ``guidance_rescale``; None where the scale is not used for two halves.
        guided: Whether there are two halves; None where there never are.
        embedding: Width of ``timestep_cond``; 0 without.
    """

    pairs: Mapping[str, tuple[Expr, Expr | None]]
    extra: Mapping[str, Expr]
    scale: Expr | None
    rescale: Expr | None
    embedding: int = 0
    _guided: list[Expr] = field(default_factory=list)

    @property
    def inputs(self) -> list[Expr]:
        """In the order of the graph."""
        both = [e for pair in self.pairs.values() for e in pair if e is not None]
        return [*both, *self.extra.values(), *(e for e in (self.scale, self.rescale) if e)]

    @property
    def halves(self) -> bool:
        """Whether guidance can ask for two."""
        return self.rescale is not None

    def fed(self, latents: Expr) -> dict[str, Expr]:
        """What does not change from step to step, as the UNet takes it; recorded outside."""
        found = {name: pair[0] for name, pair in self.pairs.items()}
        if self.embedding:
            assert self.scale is not None
            rows = op("Shape", latents, attributes={"end": 1}, dtype=INT64, shape=(1,))
            found["timestep_cond"] = guidance.scale_embedding(self.scale, rows, self.embedding)
        if not self.halves:
            return found
        assert self.scale is not None
        guided = guidance.wanted(self.scale)
        self._guided.append(guided)
        for name, (with_text, without) in self.pairs.items():
            found[name] = call(
                DOMAIN,
                f"Halves_{name}",
                lambda guided, without, with_text: {
                    "halves": guidance.both(guided, without, with_text)
                },
                {"guided": guided, "without": without or with_text, "with_text": with_text},
                doc=HALVES_DOC,
            )["halves"].named(name)
        return found

    def rows(self, latents: Expr) -> Expr:
        """The latents and what follows them in channels, once for each half: (R, ...)."""
        given = {"latents": latents, **self.extra}
        channels = sum(int(e.shape[1]) for e in given.values())
        shape: tuple[Dim, ...] = ("B", channels, *latents.shape[2:])

        def write(guided: Expr | None = None, **parts: Expr) -> dict[str, Expr]:
            image = (
                concat([e.to(FLOAT) for e in parts.values()], 1, shape)
                if len(parts) > 1
                else parts["latents"]
            )
            return {"rows": image if guided is None else guidance.doubled(guided, image)}

        if self.halves:
            given["guided"] = self._guided[0]
        elif not self.extra:
            return latents
        with about(role="guidance"):
            return call(DOMAIN, "Halves", write, given, doc=LATENTS_DOC)["rows"]

    def combined(self, prediction: Expr) -> Expr:
        """Two halves as one prediction: (B, C, H, W)."""
        if not self.halves:
            return prediction
        assert self.scale is not None
        assert self.rescale is not None
        with about(role="guidance"):
            return call(
                DOMAIN,
                "Guidance",
                lambda guided, scale, rescale, noise_pred: {
                    "guided_pred": guidance.combined(guided, scale, rescale, noise_pred)
                },
                {
                    "guided": self._guided[0],
                    "scale": self.scale,
                    "rescale": self.rescale,
                    "noise_pred": prediction,
                },
                doc=GUIDANCE_DOC,
            )["guided_pred"]


def declare(specs: Mapping[str, ir.Value], channels: int) -> Conditions:
    """The graph's inputs for what the UNet takes.

    Args:
        specs: The UNet's inputs by name.
        channels: Of the latents.
    """
    text = "encoder_hidden_states" in specs
    embedded = "timestep_cond" in specs
    pairs = {}
    for name, (with_text, without) in PIPELINE_NAMES.items():
        if name in specs:
            twice = without if text and not embedded else None
            pairs[name] = (
                _like(with_text, specs[name]),
                _like(twice, specs[name]) if twice else None,
            )
    wide = size(specs["sample"], 1) > channels
    extra = {
        name: parameter(name, FLOAT, ("B", channels, "H", "W"))
        for name, channels in (INPAINTING if wide else {}).items()
    }
    scale = parameter("guidance_scale", FLOAT, ()) if text else None
    rescale = parameter("guidance_rescale", FLOAT, ()) if text and not embedded else None
    width = size(specs["timestep_cond"], 1) if embedded else 0
    return Conditions(pairs, extra, scale, rescale, width)


def _like(name: str, spec: ir.Value) -> Expr:
    assert spec.dtype is not None
    return parameter(name, spec.dtype, dims(spec))
