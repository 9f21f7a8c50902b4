"""IP-Adapters in the same graph: embeddings of reference images and a strength are inputs.

An IP-Adapter (https://arxiv.org/abs/2308.06721) gives every cross-attention a second one, with
keys and values from an image, and adds its result to the text's: ``hidden_states + scale *
ip_hidden_states`` of diffusers' ``IPAdapterAttnProcessor2_0``. Off is a strength of 0: ``x +
0`` is ``x``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from exporter.types import ImagePrompt, InputSpec

if TYPE_CHECKING:
    import torch

EMBEDS, SCALE = "image_embeds_", "ip_adapter_scale_"

PROCESSOR = "processor"
"""Where a cross-attention keeps an adapter's own projections."""

PROJECTION = "encoder_hid_proj.image_projection_layers"
"""Where the UNet keeps what makes tokens of an image's embedding."""


def is_image_prompt(name: str) -> bool:
    """Whether an input is an adapter's image or its strength."""
    return name.startswith((EMBEDS, SCALE))


def is_adapter_weight(name: str) -> bool:
    """Whether a parameter is an adapter's, and no part of the UNet that it was made for."""
    return f".{PROCESSOR}.to_" in name or name.startswith(PROJECTION)


def ip_adapter_specs(adapters: tuple[ImagePrompt, ...]) -> tuple[InputSpec, ...]:
    """The images of each adapter, then the strength of each.

    A plain adapter takes what CLIP makes of a whole image, (B, I, width): I images for each
    sample. One of the kind ``plus`` takes CLIP's last but one hidden states, (B, I, P, width),
    with one row for each of P patches.
    """
    embeds = []
    for index, adapter in enumerate(adapters):
        patches = (f"P{index}",) if adapter.kind == "plus" else ()
        shape = ("B", f"I{index}", *patches, adapter.width)
        embeds.append(InputSpec(f"{EMBEDS}{index}", shape))
    return (*embeds, *(InputSpec(f"{SCALE}{index}", ()) for index in range(len(adapters))))


def image_sizes(
    inputs: Iterable[InputSpec], images: int = 1, patches: int = 1
) -> dict[str, int]:
    """Sizes by symbol: each adapter has one image and one patch more than the one before."""
    symbols = {
        dim
        for spec in inputs
        if spec.name.startswith(EMBEDS)
        for dim in spec.shape
        if isinstance(dim, str) and dim != "B"
    }
    return {s: int(s[1:]) + (images if s.startswith("I") else patches) for s in symbols}


def images_in(tensors: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """Embeddings by input name -> what ``forward`` takes in ``added_cond_kwargs``."""
    embeds: list[torch.Tensor] = []
    while (name := f"{EMBEDS}{len(embeds)}") in tensors:
        embeds.append(tensors[name])
    return {"image_embeds": embeds} if embeds else {}


@contextmanager
def prompted(unet: torch.nn.Module, tensors: Mapping[str, torch.Tensor]) -> Iterator[None]:
    """Within it the adapters of a UNet are as strong as ``tensors`` say.

    Args:
        unet: A diffusers UNet with adapters loaded.
        tensors: Inputs of the graph by name.
    """
    strengths: list[Any] = []
    while (name := f"{SCALE}{len(strengths)}") in tensors:
        strengths.append(_Strength(tensors[name]))
    processors = [m for m in unet.modules() if strengths and hasattr(m, "to_k_ip")]
    before = [processor.scale for processor in processors]
    for processor in processors:
        processor.scale = strengths  # type: ignore[assignment]
    try:
        yield
    finally:
        for processor, scale in zip(processors, before, strict=True):
            processor.scale = scale


class _Strength:
    """A strength that is only known when the graph runs.

    diffusers' processor leaves an adapter out where its strength ``== 0``; a graph cannot.
    """

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, value: torch.Tensor) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return False

    def __mul__(self, other: torch.Tensor) -> torch.Tensor:
        return self.value.to(other.dtype) * other
