"""What a UNet's config says it must be fed, read off diffusers' two ``forward`` methods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exporter.conditions.controlnet import CLASS, own_specs
from exporter.errors import ConfigError
from exporter.types import InputSpec

HINTS: Mapping[str, int] = {"B": 2, "H": 61, "W": 53, "S": 7, "T": 1}
"""Sizes that a UNet is traced at. The axes are free, so they only have to keep torch.export
from specialising on 0, 1 or equality. Odd ones make diffusers take its ``upsample_size`` path,
right for every size."""

LAST = 999.0
"""The last timestep that schedulers of a thousand steps ask for; none asks for more."""

LEVELS = 8
"""How often a size is halved at most."""

_SIZED_UPSAMPLING = {"UpBlock2D", "CrossAttnUpBlock2D"}
HINT_CHANNELS = 4
"""What Kandinsky 2.2 makes of a hint and puts behind the latents' own channels."""

_TEXT_WIDTH = 1280  # of SDXL's pooled text embedding, OpenCLIP bigG


def model_inputs(
    class_name: str, config: Mapping[str, Any], text_width: int | None = None
) -> tuple[InputSpec, ...]:
    """The graph's inputs, in the order of ``forward``'s arguments.

    Args:
        class_name: ``UNet2DConditionModel``, ``UNet2DModel`` or ``ControlNetModel``.
        config: Every value of the config, defaults included.
        text_width: Width of ``text_embeds`` where the pipeline tells; the config alone gives
            only the sum of text and size embeddings.

    Raises:
        ConfigError: The config needs an input that is not fed; names the setting.
    """
    refuse_unfed(class_name, config)
    hinted = HINT_CHANNELS if config.get("addition_embed_type") == "image_hint" else 0
    sample = InputSpec("sample", ("B", int(config["in_channels"]) - hinted, "H", "W"))
    timestep = InputSpec("timestep", ("T",), "float32")
    labels = _class_labels(class_name, config)
    if class_name == "UNet2DModel":
        return (sample, timestep, *labels)
    control = own_specs(config) if class_name == CLASS else ()
    text = _text(config)
    cond = config.get("time_cond_proj_dim")
    timestep_cond = () if cond is None else (InputSpec("timestep_cond", ("B", int(cond))),)
    added = (*_added(config, text_width), *_images(config))
    return (sample, timestep, *text, *labels, *timestep_cond, *added, *control)


def with_halves(sizes: Mapping[str, int]) -> dict[str, int]:
    """Sizes by symbol, with what ``H`` and ``W`` are after some stride-2 convolutions.

    ``H/4`` is ``ceil(H/4)``, which is ``H`` halved and rounded up twice; ``8H`` is the height
    of an image.
    """
    halves = {
        f"{axis}/{2**level}": -(-sizes[axis] // 2**level)
        for axis in "HW"
        for level in range(1, LEVELS)
    }
    multiples = {
        f"{2**level}{axis}": sizes[axis] * 2**level
        for axis in "HW"
        for level in range(1, LEVELS)
    }
    return {**sizes, **halves, **multiples}


def size_multiple(class_name: str, config: Mapping[str, Any]) -> int:
    """What height and width must be multiples of.

    Only ``UpBlock2D`` and ``CrossAttnUpBlock2D`` of ``UNet2DConditionModel`` upsample to the
    size of the skip they meet; everything else doubles, and so needs sizes that halve evenly.
    Blocks of K-upscalers reflect an image at its edges, which takes two pixels at the bottom.
    """
    if class_name == CLASS:
        return 1  # it only goes down
    blocks = [str(name).removeprefix("UNetRes") for name in config["up_block_types"]]
    if class_name == "UNet2DConditionModel" and _SIZED_UPSAMPLING.issuperset(blocks):
        return 1
    reflects = any(block.startswith(("KUp", "KCrossAttnUp")) for block in blocks)
    return int(2 ** (len(blocks) - 1 + reflects))


def refuse_unfed(class_name: str, config: Mapping[str, Any]) -> None:
    """Refuses settings whose ``forward`` needs an input that we do not feed.

    Args:
        class_name: ``UNet2DConditionModel``, ``UNet2DModel`` or ``ControlNetModel``.
        config: The config, with or without defaults.

    Raises:
        ConfigError: Names the setting.
    """
    labels = (None, "timestep", "identity")
    projected = ("projection", "simple_projection")
    net = class_name == CLASS
    images = () if net else ("text_image", "image", "image_hint")
    hidden = (None,) if net else (None, "text_proj", "text_image_proj", "image_proj")
    fed = {
        "addition_embed_type": (None, "text", "text_time", *images),
        "encoder_hid_dim_type": hidden,
        "attention_type": ("default", None),
        "time_embedding_type": ("positional", "fourier"),
        "class_embed_type": labels if class_name == "UNet2DModel" else labels + projected,
    }
    for key, allowed in fed.items():
        value = config.get(key, allowed[0])
        if value not in allowed:
            raise ConfigError(
                f"{key} is {value!r}, which needs inputs that are not fed",
                "one of " + ", ".join(str(one) for one in allowed),
            )


def _text(config: Mapping[str, Any]) -> tuple[InputSpec, ...]:
    """None where an image takes the text's place, as in Kandinsky 2.2."""
    if config.get("encoder_hid_dim_type") == "image_proj":
        return ()
    return (InputSpec("encoder_hidden_states", ("B", "S", _text_channels(config))),)


def _images(config: Mapping[str, Any]) -> tuple[InputSpec, ...]:
    """Embeddings of an image, and a picture to follow, that Kandinsky's configs ask for.

    Raises:
        ConfigError: Two parts of the UNet want embeddings of different widths.
    """
    kind, hidden = config.get("addition_embed_type"), config.get("encoder_hid_dim_type")
    own, cross = config.get("encoder_hid_dim"), config["cross_attention_dim"]
    widths: set[Any] = {
        width
        for width, asked in (
            (cross, kind == "text_image" or hidden == "text_image_proj"),
            (own, kind in ("image", "image_hint") or hidden == "image_proj"),
        )
        if asked
    }
    if not widths:
        return ()
    if len(widths) > 1 or not isinstance(next(iter(widths)), int):
        raise ConfigError(
            f"image_embeds are asked for in the widths {sorted(map(str, widths))}", "one width"
        )
    text = (InputSpec("text_embeds", ("B", int(cross))),) if kind == "text_image" else ()
    hint = (InputSpec("hint", ("B", 3, "8H", "8W")),) if kind == "image_hint" else ()
    return (*text, InputSpec("image_embeds", ("B", int(widths.pop()))), *hint)


def _text_channels(config: Mapping[str, Any]) -> int:
    if config["encoder_hid_dim"] is not None:
        return int(config["encoder_hid_dim"])
    width = config["cross_attention_dim"]
    widths = set(width) if isinstance(width, list | tuple) else {width}
    if len(widths) != 1:
        raise ConfigError(
            f"cross_attention_dim {width} differs between blocks",
            "one width for encoder_hidden_states",
        )
    return int(widths.pop())


def _class_labels(class_name: str, config: Mapping[str, Any]) -> tuple[InputSpec, ...]:
    kind = config["class_embed_type"]
    if kind is None:
        if config["num_class_embeds"] is None:
            return ()
        return (InputSpec("class_labels", ("B",), "int64"),)
    if kind == "timestep":
        return (InputSpec("class_labels", ("B",), "float32"),)
    if kind == "identity":
        doubled = (
            config.get("time_embedding_type") == "fourier" and class_name != "UNet2DModel"
        )
        factor = 2 if doubled else 4
        width = config.get("time_embedding_dim") or config["block_out_channels"][0] * factor
    else:
        width = config["projection_class_embeddings_input_dim"]
    return (InputSpec("class_labels", ("B", int(width))),)


def _added(config: Mapping[str, Any], text_width: int | None) -> tuple[InputSpec, ...]:
    if config["addition_embed_type"] != "text_time":
        return ()
    total = config["projection_class_embeddings_input_dim"]
    each = config["addition_time_embed_dim"]
    if text_width is None:
        # Six sizes (original, crop, target); the refiner has five (an aesthetic score).
        text_width = _TEXT_WIDTH if total == _TEXT_WIDTH + 5 * each else total - 6 * each
    count, rest = divmod(total - text_width, each)
    if rest or count < 1 or text_width < 1:
        raise ConfigError(
            f"projection_class_embeddings_input_dim {total} does not hold text_embeds of "
            f"{text_width} and time_ids of {each} each"
        )
    return (
        InputSpec("text_embeds", ("B", text_width)),
        InputSpec("time_ids", ("B", count)),
    )
