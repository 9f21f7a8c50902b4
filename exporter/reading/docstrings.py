"""What a function says about itself in Netron's documentation pane (Markdown)."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

import onnx_ir as ir

from exporter import metadata as meta
from exporter.reading.summary import Summary, definition, source_of

_REPOSITORY = "https://github.com/huggingface/diffusers/blob"


def function_doc(
    summary: Summary, inputs: Iterable[ir.Value], outputs: Iterable[ir.Value]
) -> str:
    """What it is, what comes in and out with shapes, where diffusers defines it."""
    where = "" if summary.side is None else f", {summary.side} side"
    level = "" if summary.level is None else f", level {summary.level}"
    lines = [
        f"### `{summary.path}`",
        f"**{summary.role.replace('_', ' ')}**{where}{level}: {_explain(summary)}",
        "",
        f"{summary.params:,} parameters",
        "",
        "| | name | shape | |",
        "|---|---|---|---|",
        *(f"| in | `{v.name}` | {_shape(v)} | {_remark(v, summary)} |" for v in inputs),
        *(f"| out | `{v.name}` | {_shape(v)} | |" for v in outputs),
        *_defined(summary),
    ]
    return "\n".join(lines)


def model_doc(name: str) -> str:
    """Legend of the whole graph."""
    roles = [f"- **{role}**: {text}" for role, text in meta.ROLES.items()]
    return "\n".join([f"One denoising step of the UNet of `{name}`.", "", *roles])


def _explain(summary: Summary) -> str:
    if summary.role == "block":
        parts = [(summary.counts["resnet"], "resnet"), *_attentions(summary)]
        parts += [
            (len(summary.skips_in), "incoming skip"),
            (len(summary.skips_out), "outgoing skip"),
        ]
        return ", ".join(f"{n} {what}{'s' * (n > 1)}" for n, what in parts if n)
    if summary.attention:
        props = summary.attention
        heads = f"; {props[meta.HEADS]} heads" if meta.HEADS in props else ""
        size = f" of {props[meta.HEAD_DIM]} channels" if meta.HEAD_DIM in props else ""
        return (
            f"Q reads {_names(props[meta.Q])}; K reads {_names(props[meta.K])}; "
            f"V reads {_names(props[meta.V])}{heads}{size}"
        )
    return {**meta.ROLES, **meta.PICTURE_ROLES}[summary.role]


def _attentions(summary: Summary) -> list[tuple[int, str]]:
    kinds = ("cross_attention", "self_attention", "joint_attention")
    return [(summary.counts[kind], kind.replace("_", "-")) for kind in kinds]


def _names(sources: str) -> str:
    return " and ".join(f"`{name}`" for name in sources.split(","))


def _shape(value: ir.Value) -> str:
    return f"`{','.join(str(d) for d in value.shape)}`" if value.shape is not None else ""


def _remark(value: ir.Value, summary: Summary) -> str:
    """A skip of a later block, read for its height and width by the upsampler."""
    name = value.name or ""
    lends = (
        name.startswith("skip_") and int(name.removeprefix("skip_")) not in summary.skips_in
    )
    return "only its size is read: what to upsample to" if lends else ""


def _defined(summary: Summary) -> list[str]:
    """Where; nothing for a class that is not known, or not here."""
    if not source_of(summary.class_name):
        return []
    return ["", f"Defined by `{summary.short_class}` in {_link(summary.class_name)}"]


def _link(class_name: str) -> str:
    file, line = definition(class_name)
    if not class_name.startswith("diffusers."):
        return f"`{file}:{line}`"
    try:
        tag = f"v{version('diffusers')}"
    except PackageNotFoundError:
        tag = "main"
    return f"[{file}:{line}]({_REPOSITORY}/{tag}/src/{file}#L{line})"
