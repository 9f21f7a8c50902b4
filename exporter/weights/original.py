"""The original layout of latent diffusion UNets: its tensor names, and the config they imply.

CompVis' and Stability AI's code builds a UNet of ``input_blocks``, ``middle_block`` and
``output_blocks``: ``openaimodel.py`` of latent-diffusion (below ``ldm``) and generative-models
(below ``sgm``). Diffusers gives the same tensors other names; shapes and bytes are the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from exporter.errors import ConfigError

Shapes = Mapping[str, tuple[int, ...]]

_OUTSIDE = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}
_LABELS = {"label_emb.0.0": "linear_1", "label_emb.0.2": "linear_2"}
_RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
_RESIZE = {"op": "downsamplers.0.conv", "conv": "upsamplers.0.conv"}
_MIDDLE = {"0": "resnets.0", "1": "attentions.0", "2": "resnets.1"}
_BLOCK = re.compile(r"(input|output)_blocks\.(\d+)\.\d+\.(.+)")

_FAMILIES = {
    768: ("Stable Diffusion 1", 64),
    1024: ("Stable Diffusion 2", 96),
    2048: ("Stable Diffusion XL", 128),
    1280: ("Stable Diffusion XL refiner", 128),
}
"""By the width of the text embedding; with the latent size of the published pipelines."""

_EXTRAS = {4: "", 9: ", inpainting", 8: ", edited by instruction", 5: ", depth"}
"""By the channels that enter."""

_HEADS = 8  # every published model with convolutions around its transformers (v1-*.yaml)
_HEAD_CHANNELS = 64  # every one with linear layers there (v2-*.yaml, sd_xl_*.yaml)
_SIZE_CHANNELS = 256  # of each of SDXL's six sizes


@dataclass(frozen=True)
class Original:
    """A UNet in the original layout, known by the names and shapes of its tensors.

    Attributes:
        shapes: Shape by name, without the prefix that a whole checkpoint puts before them.
        where: What to call it in an error.
    """

    shapes: Shapes
    where: str

    @cached_property
    def levels(self) -> tuple[tuple[int, ...], ...]:
        """Numbers of the input blocks that hold a resnet, by level; a downsampler ends one."""
        found: list[list[int]] = [[]]
        number = 1
        while any(name in self.shapes for name in self._firsts(number)):
            if f"input_blocks.{number}.0.op.weight" in self.shapes:
                found.append([])
            else:
                found[-1].append(number)
            number += 1
        return tuple(map(tuple, found))

    @property
    def text_width(self) -> int:
        """Channels of ``encoder_hidden_states``."""
        widths = {
            shape[1]
            for name, shape in self.shapes.items()
            if name.endswith("attn2.to_k.weight")
        }
        if len(widths) != 1:
            raise ConfigError(
                f"{self.where} has cross-attention to {sorted(widths) or 'nothing'}",
                "one width of text embedding",
            )
        return widths.pop()

    @property
    def linear(self) -> bool:
        """Whether a transformer is entered by a linear layer instead of a 1x1 convolution."""
        return any(
            len(shape) == 2
            for name, shape in self.shapes.items()
            if name.endswith("proj_in.weight")
        )

    @property
    def kind(self) -> str:
        """The family, for people: ``Stable Diffusion 1, inpainting``."""
        family, _ = _FAMILIES.get(self.text_width, ("a latent diffusion UNet", None))
        return family + _EXTRAS.get(self._shape("input_blocks.0.0.weight")[1], "")

    @property
    def prediction_is_open(self) -> bool:
        """Whether models of this architecture were published for noise and for velocity."""
        return self.text_width == 1024 and self._shape("input_blocks.0.0.weight")[1] == 4

    def config(self) -> dict[str, Any]:
        """The diffusers config of this UNet.

        The number of heads leaves no trace in a shape: it follows the published configs, 8
        heads where transformers are entered by convolutions, 64 channels a head elsewhere.

        Raises:
            ConfigError: Another architecture; names what it has.
        """
        self._refuse()
        channels = [
            self._shape(f"input_blocks.{b[0]}.0.out_layers.3.weight")[0] for b in self.levels
        ]
        attends = [self._depth(f"input_blocks.{block[0]}.1") > 0 for block in self.levels]
        down = ["CrossAttnDownBlock2D" if yes else "DownBlock2D" for yes in attends]
        up = ["CrossAttnUpBlock2D" if yes else "UpBlock2D" for yes in reversed(attends)]
        return {
            "_class_name": "UNet2DConditionModel",
            "sample_size": _FAMILIES.get(self.text_width, ("", 64))[1],
            "in_channels": self._shape("input_blocks.0.0.weight")[1],
            "out_channels": self._shape("out.2.weight")[0],
            "down_block_types": down,
            "up_block_types": up,
            "block_out_channels": channels,
            "layers_per_block": len(self.levels[0]),
            "cross_attention_dim": self.text_width,
            "attention_head_dim": (
                [width // _HEAD_CHANNELS for width in channels] if self.linear else _HEADS
            ),
            "use_linear_projection": self.linear,
            "upcast_attention": self.linear and self.text_width == 1024,
            "transformer_layers_per_block": self._depths(),
            **self._vectors(),
        }

    def diffusers_name(self, name: str) -> str:
        """What diffusers calls a tensor; a name of no known place is left as it is."""
        stem, _, leaf = name.rpartition(".")
        if stem in _OUTSIDE:
            return f"{_OUTSIDE[stem]}.{leaf}"
        if stem in _LABELS:
            return f"{self._labels}.{_LABELS[stem]}.{leaf}"
        if name.startswith("middle_block."):
            _, number, rest = name.split(".", 2)
            return f"mid_block.{_MIDDLE.get(number, number)}.{_inside(rest)}"
        match = _BLOCK.fullmatch(name)
        if match is None:
            return name
        side, place, rest = match[1], int(match[2]), match[3]
        layers = len(self.levels[0]) + 1
        level, layer = divmod(place - (side == "input"), layers)
        block = f"{'down' if side == 'input' else 'up'}_blocks.{level}"
        first = rest.rpartition(".")[0]
        if first in _RESIZE:
            return f"{block}.{_RESIZE[first]}.{leaf}"
        kind = "resnets" if first in _RESNET else "attentions"
        return f"{block}.{kind}.{layer}.{_inside(rest)}"

    @property
    def _labels(self) -> str:
        """SDXL adds sizes to the time embedding; Stable unCLIP an image, as a class."""
        return "class_embedding" if self.text_width == 1024 else "add_embedding"

    def _vectors(self) -> dict[str, Any]:
        if "label_emb.0.0.weight" not in self.shapes:
            return {}
        width = self._shape("label_emb.0.0.weight")[1]
        kind = {"projection_class_embeddings_input_dim": width}
        if self._labels == "class_embedding":
            return {**kind, "class_embed_type": "projection"}
        return {
            **kind,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": _SIZE_CHANNELS,
        }

    def _depths(self) -> list[int]:
        """Transformer blocks by level; the last one's are the middle's, as in diffusers."""
        depths = [self._depth(f"input_blocks.{block[0]}.1") or 1 for block in self.levels]
        depths[-1] = self._depth("middle_block.1")
        return depths

    def _depth(self, place: str) -> int:
        inside = f"{place}.transformer_blocks."
        found = {
            n.removeprefix(inside).partition(".")[0]
            for n in self.shapes
            if n.startswith(inside)
        }
        return len(found)

    def _refuse(self) -> None:
        if "label_emb.weight" in self.shapes:
            raise self._unknown("a table of class labels, as the x4 upscaler has")
        if len({len(level) for level in self.levels}) != 1 or not self.levels[0]:
            raise self._unknown(f"{[len(level) for level in self.levels]} resnets by level")
        if not self._depth("middle_block.1"):
            raise self._unknown("no attention in the middle")
        for level in self.levels:
            depths = {self._depth(f"input_blocks.{number}.1") for number in level}
            last = level is self.levels[-1] and depths != {0}
            if len(depths) > 1 or (last and depths != {self._depth("middle_block.1")}):
                raise self._unknown(f"transformers of {sorted(depths)} blocks in one level")
        width = self.text_width
        for name, shape in self.shapes.items():
            if name.endswith("attn1.to_k.weight") and shape[1] == width != shape[0]:
                raise self._unknown("no self-attention, as the x4 upscaler")

    def _unknown(self, has: str) -> ConfigError:
        return ConfigError(
            f"{self.where} has {has}",
            "the layout of Stable Diffusion 1, 2, XL or the refiner",
            "give its diffusers folder",
        )

    def _firsts(self, number: int) -> tuple[str, str]:
        place = f"input_blocks.{number}.0"
        return f"{place}.op.weight", f"{place}.in_layers.0.weight"

    def _shape(self, name: str) -> tuple[int, ...]:
        try:
            return self.shapes[name]
        except KeyError as error:
            raise ConfigError(f"{self.where} lacks {name}") from error


def _inside(rest: str) -> str:
    stem, _, leaf = rest.rpartition(".")
    return f"{_RESNET.get(stem, stem)}.{leaf}"
