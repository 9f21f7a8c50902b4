"""An IP-Adapter as people have it: one safetensors file, read, understood and linked.

The layout is that of tencent-ailab/IP-Adapter: ``image_proj.*`` makes tokens of an image's
embedding; ``ip_adapter.1.to_k_ip.weight`` and ``ip_adapter.1.to_v_ip.weight``, then
``ip_adapter.3...`` are the second keys and values of each cross-attention. diffusers'
loaders/unet.py gives them the names used here; shapes and bytes are the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from exporter.conditions.ip_adapter import PROCESSOR, PROJECTION, ip_adapter_specs
from exporter.errors import CheckpointError, SourceError, UsageError
from exporter.types import ImageKind, ImagePrompt, Source, TensorSpec
from exporter.weights.checkpoint import Checkpoint
from exporter.weights.joint import JointWeights

PROJ, KEYS = "image_proj.", "ip_adapter."

_ATTENTION = ".attn2.to_k.weight"
_BLOCKS = ("DownBlock2D", "CrossAttnDownBlock2D")

_STRANGERS = {
    "perceiver_resampler.proj_in.weight": "FaceID Plus",
    "proj.3.weight": "full face",
    "norm.weight": "FaceID",
}
"""Kinds that are not taken, by a tensor that only they (of those that are left) have."""

_RENAMES = (
    (r"layers\.(\d+)\.0\.norm1\.", r"layers.\1.ln0."),
    (r"layers\.(\d+)\.0\.norm2\.", r"layers.\1.ln1."),
    (r"layers\.(\d+)\.0\.to_out\.", r"layers.\1.attn.to_out.0."),
    (r"layers\.(\d+)\.0\.to_q\.", r"layers.\1.attn.to_q."),
    (r"layers\.(\d+)\.1\.0\.", r"layers.\1.ff.0."),
    (r"layers\.(\d+)\.1\.1\.", r"layers.\1.ff.1.net.0.proj."),
    (r"layers\.(\d+)\.1\.3\.", r"layers.\1.ff.1.net.2."),
)
_JOINED = re.compile(r"layers\.(\d+)\.0\.to_kv\.weight")


def with_ip_adapters(source: Source, files: Sequence[str]) -> Source:
    """The same UNet with IP-Adapters in its graph, in this order.

    Args:
        source: The UNet.
        files: A ``.safetensors`` file each.

    Raises:
        SourceError: No such file, a pickled or broken one, or none of an IP-Adapter.
        UsageError: An IP-Adapter for another family of UNets, or of a kind that is not taken.
    """
    if not files:
        return source
    attentions = require_place(source)
    opened = [_Opened(_existing(file)) for file in files]
    parts = [one.fitted(source, attentions, index) for index, one in enumerate(opened)]
    adapters = tuple(one.prompt for one in opened)
    return replace(
        source,
        weights=JointWeights(source.weights, [("", part) for part in parts]),
        inputs=(*source.inputs, *ip_adapter_specs(adapters)),
        ip_adapters=adapters,
    )


class _Opened:
    """One adapter's file."""

    def __init__(self, path: Path) -> None:
        self.path, self.file = path, Checkpoint.open(path)
        self.tensors = self.file.tensors
        strange = [name for name in self.tensors if not name.startswith((PROJ, KEYS))]
        if strange or not self._of(KEYS):
            raise CheckpointError(
                f"{path.name} holds {min(strange, default='no ip_adapter.*')}",
                "an IP-Adapter: image_proj.* and ip_adapter.*",
            )
        if not self._of(PROJ):
            raise CheckpointError(
                f"{path.name} has no image_proj.*",
                "the projection of an IP-Adapter beside its keys and values",
            )
        self.kind = self._kind()

    @property
    def prompt(self) -> ImagePrompt:
        """What it is, apart from its values."""
        shapes = {name: spec.shape for name, spec in self.tensors.items()}
        width = {"plain": "proj.weight", "plus": "proj_in.weight"}[self.kind]
        return ImagePrompt(self.path.name, self.kind, shapes[PROJ + width][-1], shapes)

    def fitted(self, source: Source, attentions: Sequence[str], index: int) -> Checkpoint:
        """Its weights under the names that the UNet's own modules have for them."""
        own = {name.removeprefix(KEYS): spec for name, spec in self._of(KEYS).items()}
        wanted = {
            f"{2 * number + 1}.to_{kind}_ip.weight": f"{path}.{PROCESSOR}.to_{kind}_ip.{index}"
            for number, path in enumerate(attentions)
            for kind in "kv"
        }
        if own.keys() != wanted.keys():
            raise UsageError(
                f"{self.path.name} is for {len(own) // 2} cross-attentions",
                f"{len(attentions)}, as {source.name} has",
                "use an IP-Adapter of this UNet's family",
            )
        found: dict[str, TensorSpec] = {}
        shapes = {name: spec.shape for name, spec in source.weights.tensors.items()}
        for name, path in wanted.items():
            like = shapes[path.partition(f".{PROCESSOR}.")[0] + ".to_k.weight"]
            if own[name].shape != like:
                raise UsageError(
                    f"{self.path.name} has {KEYS}{name} {list(own[name].shape)}",
                    f"{list(like)}, as {source.name} has",
                    "use an IP-Adapter of this UNet's family",
                )
            found[f"{path}.weight"] = own[name]
        for name, spec in self._projection():
            found[f"{PROJECTION}.{index}.{name}"] = spec
        return Checkpoint(
            self.file.files,
            {name: replace(spec, name=name) for name, spec in found.items()},
            self.path.name,
        )

    def _projection(self) -> Iterator[tuple[str, TensorSpec]]:
        for full, spec in self._of(PROJ).items():
            name = full.removeprefix(PROJ)
            joined = _JOINED.fullmatch(name)
            if joined:
                yield from _halves(f"layers.{joined[1]}.attn", spec)
            elif self.kind == "plain":
                yield re.sub(r"^proj\.", "image_embeds.", name), spec
            else:
                for pattern, new in _RENAMES:
                    name = re.sub(pattern, new, name)
                yield name, spec

    def _of(self, prefix: str) -> Mapping[str, TensorSpec]:
        return {name: s for name, s in self.tensors.items() if name.startswith(prefix)}

    def _kind(self) -> ImageKind:
        names = {name.removeprefix(PROJ) for name in self._of(PROJ)}
        if "proj.weight" in names:
            return "plain"
        if {"latents", "proj_in.weight"} <= names:
            return "plus"
        kind = next((kind for mark, kind in _STRANGERS.items() if mark in names), "unknown")
        raise UsageError(
            f"{self.path.name} is an IP-Adapter of the kind {kind}", "a plain one or plus"
        )


def _halves(path: str, spec: TensorSpec) -> Iterator[tuple[str, TensorSpec]]:
    """Keys and values that a file holds as one matrix: its upper and its lower half."""
    rows, half = spec.shape[0] // 2, spec.nbytes // 2
    for index, kind in enumerate("kv"):
        part = replace(
            spec,
            shape=(rows, *spec.shape[1:]),
            offset=spec.offset + index * half,
            nbytes=half,
        )
        yield f"{path}.to_{kind}.weight", part


def require_place(source: Source) -> tuple[str, ...]:
    """Paths of the cross-attentions, in the order in which an adapter's file counts them.

    Raises:
        UsageError: The UNet has none of the usual form.
    """
    if source.class_name != "UNet2DConditionModel":
        raise UsageError(f"--ip-adapter with a {source.class_name}", "a UNet2DConditionModel")
    config = source.config
    strange = sorted(set(config["down_block_types"]) - set(_BLOCKS))
    for key in ("encoder_hid_dim_type", "dual_cross_attention", "only_cross_attention"):
        strange += [f"{key} {config[key]}"] if config.get(key) else []
    if not isinstance(config["cross_attention_dim"], int):
        strange.append(f"cross_attention_dim {config['cross_attention_dim']}")
    paths = tuple(
        name.removesuffix(".to_k.weight")
        for name in source.weights.tensors
        if name.endswith(_ATTENTION)
    )
    if strange or not paths:
        raise UsageError(
            f"--ip-adapter with {strange[0] if strange else 'a UNet without attention'}",
            "a UNet of Stable Diffusion's form",
        )
    return tuple(sorted(paths, key=_place))


def _place(path: str) -> tuple[int, ...]:
    """Where diffusers comes to a module: down, up, then the middle; numbers as numbers."""
    first = ("down_blocks", "up_blocks", "mid_block").index(path.partition(".")[0])
    return (first, *(int(part) for part in path.split(".") if part.isdigit()))


def _existing(text: str) -> Path:
    path = Path(text).expanduser()
    if not path.is_file():
        raise SourceError(f"no file {text}", "the .safetensors file of an IP-Adapter")
    if path.suffix != ".safetensors":
        raise CheckpointError(f"{path.name} is no .safetensors file", do="convert it")
    return path
