"""What a group of annotated nodes amounts to: the facts of one function."""

from __future__ import annotations

import importlib.util
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import onnx_ir as ir

from exporter import metadata as meta
from exporter.errors import GraphError
from exporter.paths import leaf, parent

NAMES: Mapping[str, str] = {
    "time_injection": "TimeInjection",
    "text": "TextProjection",
    "cross_attention": "CrossAttention",
    "self_attention": "SelfAttention",
    "joint_attention": "JointAttention",
    "image_prompt": "ImagePrompt",
    "control_image": "ControlImage",
    "resnet": "Resnet",
    "feed_forward": "FeedForward",
    "transformer": "Transformer",
    "downsample": "Downsample",
    "upsample": "Upsample",
    "conv_in": "ConvIn",
    "conv_out": "ConvOut",
    "skip": "Skip",
    "condition": "Condition",
    "lora": "LowRank",
    "shape": "Shape",
}
ATTENTIONS = ("cross_attention", "self_attention", "joint_attention")
MAX_LABEL = 20  # Netron cuts an operator's label after this many characters


@dataclass(frozen=True)
class Summary:
    """Facts about one module, gathered from its nodes.

    Attributes:
        path: Module path.
        class_name: Qualified class; empty where a file of another exporter does not tell.
        role: What the module as a whole is.
        side: ``down``, ``mid``, ``up`` or None.
        level: Resolution level of its first image operation, or None.
        skips_out: Pair ids of skips that start here.
        skips_in: Pair ids of skips that end here.
        params: Number of parameters inside.
        counts: How many attentions by role, and how many ``resnet``, are inside.
        attention: Q, K, V, heads and head_dim metadata when there is exactly one.
    """

    path: str
    class_name: str
    role: str
    side: str | None
    level: str | None
    skips_out: tuple[int, ...]
    skips_in: tuple[int, ...]
    params: int
    counts: Mapping[str, int]
    attention: Mapping[str, str] = field(default_factory=dict)

    @property
    def index(self) -> str:
        """Trailing number of the path (``down_blocks.1`` -> ``1``), or nothing."""
        last = leaf(self.path)
        return last if last.isdigit() else ""

    @property
    def short_class(self) -> str:
        """Class name without its package: ``ResnetBlock2D``; the path's end where unknown."""
        return leaf(self.class_name) or self._place

    @property
    def _place(self) -> str:
        """``Net_0`` of ``ff.net.0``."""
        last = leaf(self.path)
        name = f"{leaf(parent(self.path))}_{last}" if last.isdigit() else last
        return re.sub(r"\W", "_", name.capitalize())

    def name(self, parent_role: str | None) -> str:
        """Name of the function: what it is, short enough for Netron's label."""
        if self.short_class == "ControlNetModel":
            return "ControlNet"
        if self.role == "block":
            kind = "Resnet"
            if self.counts["self_attention"]:
                kind = "SelfAttn"
            if self.counts["cross_attention"] or self.counts["joint_attention"]:
                kind = "CrossAttn"
            parts = [(self.side or "block").capitalize(), self.index, kind]
            return "_".join(part for part in parts if part)
        if self.role in (parent_role, "time_embedding") or self.role not in NAMES:
            return self.short_class.removeprefix("Basic").removesuffix("2D")[:MAX_LABEL]
        return NAMES[self.role]

    def metadata(self) -> dict[str, str]:
        """Metadata of the call."""
        skips = sorted({*self.skips_out, *self.skips_in})
        ends = ["source"] * bool(self.skips_out) + ["sink"] * bool(self.skips_in)
        props = {
            meta.CLASS: self.class_name,
            meta.SOURCE: source_of(self.class_name),
            meta.ROLE: self.role,
            meta.SIDE: self.side or "",
            meta.LEVEL: self.level or "",
            meta.SKIP: _join(skips),
            meta.SKIP_END: ",".join(ends),
            meta.SKIP_SOURCE: _join(self.skips_out),
            meta.SKIP_SINK: _join(self.skips_in),
            meta.PARAMS: str(self.params),
            **self.attention,
        }
        return {
            meta.MODULE: self.path,
            **{key: value for key, value in props.items() if value},
        }


def summarize(nodes: Sequence[ir.Node], path: str, class_name: str) -> Summary:
    """Sums up the annotated nodes of one module, its submodules included."""
    anchors = [node.metadata_props for node in nodes if meta.Q in node.metadata_props]
    anchors = [a for a in anchors if a[meta.ROLE] != "image_prompt"] or anchors
    counts = Counter(props[meta.ROLE] for props in anchors)
    roles = Counter(node.metadata_props[meta.ROLE] for node in nodes)
    injected = {
        n.metadata_props[meta.RESNET] for n in nodes if meta.RESNET in n.metadata_props
    }
    counts["resnet"] = len(injected)
    keys = (meta.Q, meta.K, meta.V, meta.HEADS, meta.HEAD_DIM)
    alone = anchors[0] if len(anchors) == 1 else {}
    sides = {n.metadata_props[meta.SIDE] for n in nodes if meta.SIDE in n.metadata_props}
    levels = [n.metadata_props[meta.LEVEL] for n in nodes if meta.LEVEL in n.metadata_props]
    parameters = {v for n in nodes for v in n.inputs if v is not None and _is_parameter(v)}
    return Summary(
        path,
        class_name,
        _role(roles, counts),
        sides.pop() if len(sides) == 1 else None,
        levels[0] if levels else None,
        _ids(nodes, meta.SKIP_SOURCE),
        _ids(nodes, meta.SKIP_SINK),
        sum(_size(value) for value in parameters),
        counts,
        {key: alone[key] for key in keys if key in alone},
    )


def _role(roles: Counter[str], counts: Counter[str]) -> str:
    attentions = sum(counts[role] for role in ATTENTIONS)
    if counts["resnet"] > 1 or roles["skip"] or (counts["resnet"] and attentions):
        return "block"
    if counts["resnet"]:
        return "resnet"
    if attentions == 1 and not roles["feed_forward"]:
        return next(role for role in ATTENTIONS if counts[role])
    if attentions:
        return "transformer"
    plain = [role for role, _ in roles.most_common() if role not in ("shape", "lora")]
    return plain[0] if plain else "shape"


@cache
def definition(class_name: str) -> tuple[str, int]:
    """File (from its package on) and line where a class is defined.

    The file is read, not imported: that would take seconds, and torch.

    Raises:
        GraphError: There is no such file, or no such class in it.
    """
    module, _, name = class_name.rpartition(".")
    package, _, inner = module.partition(".")
    spec = importlib.util.find_spec(package)
    folders = (spec.submodule_search_locations if spec else None) or ()
    file = f"{inner.replace('.', '/')}.py"
    starts = (f"class {name}(", f"class {name}:")
    for path in (Path(folder, file) for folder in folders):
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else ()
        for number, line in enumerate(lines, 1):
            if line.startswith(starts):
                return f"{package}/{file}", number
    raise GraphError(f"{class_name} is defined nowhere", "a class of an installed package")


def source_of(class_name: str) -> str:
    """``diffusers/models/resnet.py:341``; empty for a class that is not known, or not here."""
    try:
        file, line = definition(class_name)
    except (GraphError, ValueError):
        return ""
    return f"{file}:{line}"


def _ids(nodes: Sequence[ir.Node], key: str) -> tuple[int, ...]:
    texts = (node.metadata_props.get(key, "") for node in nodes)
    return tuple(sorted(int(part) for text in texts for part in text.split(",") if part))


def _is_parameter(value: ir.Value) -> bool:
    if "parameter" in value.meta:  # of a file by another exporter, which may hold its weights
        return bool(value.meta["parameter"])
    return value.is_initializer() and isinstance(value.const_value, ir.ExternalTensor)


def _size(value: ir.Value) -> int:
    return int(value.const_value.size) if value.const_value is not None else 0


def _join(ids: Sequence[int]) -> str:
    return ",".join(str(i) for i in ids)
