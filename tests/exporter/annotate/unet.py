"""A UNet by nobody we know: OpenAI's names of blocks, Einsum attention, inputs of its own."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import nn

CHANNELS, TEXT = 8, 12
NAMES = ["x", "timesteps", "context"]
EXAMPLE = (torch.zeros(2, 4, 16, 16), torch.tensor([1, 2]), torch.zeros(2, 7, TEXT))


class Residual(nn.Module):
    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        self.in_layers = nn.Sequential(
            nn.GroupNorm(4, inner), nn.SiLU(), nn.Conv2d(inner, outer, 3, padding=1)
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(4 * CHANNELS, outer))
        self.out_layers = nn.Sequential(
            nn.GroupNorm(4, outer), nn.SiLU(), nn.Conv2d(outer, outer, 3, padding=1)
        )
        self.skip_connection = nn.Conv2d(inner, outer, 1) if inner != outer else nn.Identity()

    def forward(self, x: Any, emb: Any, _: Any) -> Any:
        hidden = self.in_layers(x) + self.emb_layers(emb)[:, :, None, None]
        return self.skip_connection(x) + self.out_layers(hidden)


class Attend(nn.Module):
    def __init__(self, channels: int, text: int | None = None) -> None:
        super().__init__()
        self.cross = text is not None
        self.norm = nn.LayerNorm(channels)
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_kv = nn.Linear(text or channels, 2 * channels, bias=False)
        self.proj_out = nn.Linear(channels, channels)

    def forward(self, x: Any, _: Any, text: Any) -> Any:
        b, c, h, w = x.shape
        tokens = self.norm(x.reshape(b, c, h * w).transpose(1, 2))
        k, v = self.to_kv(text if self.cross else tokens).chunk(2, -1)
        scores = torch.einsum("bic,bjc->bij", self.to_q(tokens), k) * c**-0.5
        mixed = torch.einsum("bij,bjc->bic", scores.softmax(-1), v)
        return x + self.proj_out(mixed).transpose(1, 2).reshape(b, c, h, w)


class Resample(nn.Module):
    def __init__(self, channels: int, *, up: bool) -> None:
        super().__init__()
        self.up = up
        self.op = nn.Conv2d(channels, channels, 3, stride=1 if up else 2, padding=1)

    def forward(self, x: Any, *_: Any) -> Any:
        return self.op(nn.functional.interpolate(x, scale_factor=2.0) if self.up else x)


class Block(nn.Sequential):
    def forward(self, x: Any, emb: Any, text: Any) -> Any:
        for part in self:
            x = part(x) if isinstance(part, nn.Conv2d) else part(x, emb, text)
        return x


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        c = CHANNELS
        self.time_embed = nn.Sequential(
            nn.Linear(c, 4 * c), nn.SiLU(), nn.Linear(4 * c, 4 * c)
        )
        self.input_blocks = nn.ModuleList(
            [
                Block(nn.Conv2d(4, c, 3, padding=1)),
                Block(Residual(c, c), Attend(c), Attend(c, TEXT)),
                Block(Resample(c, up=False)),
                Block(Residual(c, 2 * c)),
            ]
        )
        self.middle_block = Block(
            Residual(2 * c, 2 * c), Attend(2 * c), Attend(2 * c, TEXT), Residual(2 * c, 2 * c)
        )
        self.output_blocks = nn.ModuleList(
            [
                Block(Residual(4 * c, 2 * c)),
                Block(Residual(3 * c, c), Resample(c, up=True)),
                Block(Residual(2 * c, c), Attend(c), Attend(c, TEXT)),
                Block(Residual(2 * c, c)),
            ]
        )
        self.out = nn.Sequential(nn.GroupNorm(4, c), nn.SiLU(), nn.Conv2d(c, 4, 3, padding=1))

    def forward(self, x: Any, timesteps: Any, context: Any) -> Any:
        half = CHANNELS // 2
        waves = torch.exp(-math.log(10000) * torch.arange(half) / half)
        angles = timesteps[:, None].float() * waves[None]
        emb = self.time_embed(torch.cat([angles.cos(), angles.sin()], -1))
        crossing = []
        for block in self.input_blocks:
            x = block(x, emb, context)
            crossing.append(x)
        x = self.middle_block(x, emb, context)
        for block in self.output_blocks:
            x = block(torch.cat([x, crossing.pop()], 1), emb, context)
        return self.out(x)


def export(path: Path, *, dynamo: bool) -> Path:
    """Writes it by one of torch's two exporters."""
    torch.manual_seed(0)
    batch, height, width, length = (torch.export.Dim(name) for name in "nhwl")
    axes: dict[str, Any] = {"x": {0: "n", 2: "h", 3: "w"}, "timesteps": {0: "n"}}
    axes["context"] = {0: "n", 1: "l"}
    free = ({0: batch, 2: 2 * height, 3: 2 * width}, {0: batch}, {0: batch, 1: length})
    how: dict[str, Any] = (
        {"dynamic_shapes": free} if dynamo else {"dynamic_axes": axes, "opset_version": 17}
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            UNet().eval(), EXAMPLE, str(path), dynamo=dynamo, input_names=NAMES,
            output_names=["eps"], **how,
        )  # fmt: skip
    return path


def nameless(source: Path, target: Path) -> Path:
    """The same file without a name that tells anything, as optimisers leave it."""
    model = onnx.load(source)
    kept = {value.name for value in (*model.graph.input, *model.graph.output)}
    new: dict[str, str] = {}
    for node in model.graph.node:
        node.name = ""
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name and name not in kept:
                    names[index] = new.setdefault(name, f"v{len(new)}")
    for tensor in model.graph.initializer:
        tensor.name = new.get(tensor.name, tensor.name)
    del model.graph.value_info[:]
    onnx.save(model, target)
    return target
