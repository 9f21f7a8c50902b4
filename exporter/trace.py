"""Source -> torch.export program, on fake tensors with free batch, height, width and text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from exporter.call import keep_in_fp32, outputs_of
from exporter.conditions.controlnet import CLASS, is_net
from exporter.conditions.ip_adapter import image_sizes
from exporter.errors import GraphError
from exporter.inputs import HINTS, with_halves
from exporter.repeats import mark_repeats, sized
from exporter.types import InputSpec, Program, Source


class _UNet(torch.nn.Module):
    """Feeds the conventional flat inputs to diffusers' forward and returns the bare tensor."""

    def __init__(self, unet: torch.nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.traced, self.names = unet, names

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        outputs = outputs_of(self.traced, dict(zip(self.names, tensors, strict=True)))
        return outputs if len(outputs) > 1 else outputs[0]


def trace(
    source: Source,
    build: Callable[[], torch.nn.Module],
    dtype: torch.dtype,
    keep_fp32: Sequence[str] = (),
) -> Program:
    """Traces one denoising step without loading a weight.

    Args:
        source: What to trace.
        build: Makes the UNet on the meta device, in eval mode.
        dtype: Dtype of parameters and of inputs that follow the model.
        keep_fp32: Paths of modules that compute in float32 whatever ``dtype`` is.

    Returns:
        The traced program: functional ATen operators, one per line of diffusers' forward.

    Raises:
        GraphError: torch.export cannot trace this configuration.
        UsageError: ``keep_fp32`` names no module.
    """
    names = tuple(spec.name for spec in source.inputs)
    unet = torch.nn.Module.to(build(), dtype)  # diffusers' own `to` warns on a bare cast
    for path in keep_fp32:
        keep_in_fp32(unet, path, dtype)
    name = f"{source.class_name} of {source.name}"
    subject = Subject(name, source.inputs, dtype, source.size_multiple, source.outputs)
    return trace_module(_UNet(unet, names), subject, _prepare)


def _prepare(unet: torch.nn.Module) -> None:
    mark_repeats(unet)
    _fit_images(unet)


@dataclass(frozen=True)
class Subject:
    """What is traced, and what it is fed.

    Attributes:
        name: For people.
        inputs: Of the wrapper's ``forward``, in order.
        dtype: Of inputs that follow the model.
        size_multiple: Divisor of every height and width.
        outputs: Names of what ``forward`` returns.
    """

    name: str
    inputs: tuple[InputSpec, ...]
    dtype: torch.dtype
    size_multiple: int = 1
    outputs: tuple[str, ...] = ("out_sample",)


def trace_module(
    module: torch.nn.Module,
    subject: Subject,
    prepare: Callable[[torch.nn.Module], None] = lambda _: None,
) -> Program:
    """Traces a wrapper around any model, on fake tensors.

    Args:
        module: Its ``forward`` takes ``*tensors``; the model itself is its attribute
            ``traced``, with parameters on the meta device.
        subject: What it is.
        prepare: Called with the model once its parameters are fake.

    Raises:
        GraphError: torch.export cannot trace it.
    """
    hints = {**HINTS, **image_sizes(subject.inputs, 3, 11)}
    if subject.size_multiple > 1:
        hints |= {"H": subject.size_multiple * 7, "W": subject.size_multiple * 6}
    hints = with_halves(hints)
    model: torch.nn.Module = module.traced  # type: ignore[assignment]
    with FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True):
        model._apply(  # type: ignore[no-untyped-call]
            lambda t: torch.empty_like(t, device="cpu") if t.is_meta else t
        )
        prepare(model)
        module.eval().requires_grad_(requires_grad=False)
        example = tuple(_example(spec, hints, subject.dtype) for spec in subject.inputs)
    free = tuple(
        {
            i: torch.export.Dim.AUTO
            for i, dim in enumerate(spec.shape)
            if isinstance(dim, str) and dim != "T"
        }
        for spec in subject.inputs
    )
    try:
        exported = torch.export.export(
            module, example, dynamic_shapes={"tensors": free}, strict=False
        )
    except Exception as error:  # torch.export raises many kinds
        raise GraphError(
            f"torch.export cannot trace {subject.name}: {str(error).splitlines()[0][:200]}",
            do="report it with the model's config.json",
        ) from error
    _drop_no_ops(exported.graph)
    _out_of_place(exported.graph)
    _promote_cat(exported.graph)
    classes = {
        path: f"{type(m).__module__}.{type(m).__qualname__}"
        for path, m in model.named_modules()
    }
    axes = _axes(exported, subject.inputs)
    return Program(
        exported, axes, classes, subject.inputs, subject.size_multiple, subject.outputs
    )


def _example(spec: InputSpec, hints: Mapping[str, int], dtype: torch.dtype) -> torch.Tensor:
    shape = [hints[dim] if isinstance(dim, str) else dim for dim in spec.shape]
    kind = dtype if spec.dtype == "model" else getattr(torch, spec.dtype)
    return torch.zeros(shape, dtype=kind)


def _fit_images(unet: torch.nn.Module) -> None:
    """Says that a ControlNet's embedded image is as large as the latents.

    torch.export cannot know that an axis which it was told is free is eight times another; the
    marker that says so is gone when the graph is simple.
    """
    if "hint_block" in str(getattr(unet, "add_embedding", None)):
        _fit_hint(unet)
    nets = {path: net for path, net in unet.named_children() if is_net(path)}
    if type(unet).__name__ == CLASS:
        nets[""] = unet
    for net in nets.values():
        sizes: list[tuple[Any, ...]] = []

        def enter(_: Any, args: tuple[Any, ...], sizes: Any = sizes) -> None:
            sizes[:] = [tuple(args[0].shape[2:])]

        def leave(_: Any, __: Any, image: torch.Tensor, sizes: Any = sizes) -> torch.Tensor:
            return sized(image, (*image.shape[:2], *sizes[0]))

        net.register_forward_pre_hook(enter)
        net.get_submodule("controlnet_cond_embedding").register_forward_hook(leave)


def _fit_hint(unet: torch.nn.Module) -> None:
    """The same of what Kandinsky 2.2 makes of a hint."""
    sizes: list[tuple[Any, ...]] = []

    def enter(_: Any, __: Any, kwargs: dict[str, Any]) -> None:
        sizes[:] = [tuple(kwargs["sample"].shape[2:])]

    def leave(_: Any, __: Any, image: torch.Tensor) -> torch.Tensor:
        return sized(image, (*image.shape[:2], *sizes[0]))

    unet.register_forward_pre_hook(enter, with_kwargs=True)
    unet.get_submodule("add_embedding.input_hint_block").register_forward_hook(leave)


def _rounded_up(dim: str) -> str:
    """``H/4`` or ``8H`` as an expression that sympy reads as ``passes.name_dims`` does."""
    if dim[0].isdigit():
        return f"({dim[:-1]}*{dim[-1]})"
    axis, _, by = dim.partition("/")
    return f"(({axis} + {int(by) - 1})//{by})" if by else axis


def _axes(
    exported: torch.export.ExportedProgram, inputs: tuple[InputSpec, ...]
) -> dict[str, str]:
    users = set(exported.graph_signature.user_inputs)
    holders = [n for n in exported.graph.nodes if n.op == "placeholder" and n.name in users]
    axes: dict[str, str] = {}
    for spec, holder in zip(inputs, holders, strict=True):
        for name, size in zip(spec.shape, holder.meta["val"].shape, strict=True):
            if isinstance(name, str) and isinstance(size, torch.SymInt):
                axes.setdefault(str(size), _rounded_up(name))
    return axes


def _out_of_place(graph: torch.fx.Graph) -> None:
    """Makes ``x += y`` a sum that later readers of ``x`` read: ONNX has no other.

    diffusers adds an adapter's residual in place, and so to the skip that is the same tensor.
    """
    aten = torch.ops.aten
    for node in [node for node in graph.nodes if node.target is aten.add_.Tensor]:
        node.target = aten.add.Tensor
        before = node.args[0]
        seen = False
        for user in list(graph.nodes):
            if seen:
                user.replace_input_with(before, node)
            seen = seen or user is node


def _promote_cat(graph: torch.fx.Graph) -> None:
    """Casts the operands of a ``cat`` of several dtypes to that of its result.

    torch promotes them inside the operator, ONNX does not; SDXL in half precision joins
    ``text_embeds`` with a float32 sinusoid. torch.onnx inserts casts for other operators.
    """
    aten = torch.ops.aten
    joins = {aten.cat.default, aten.concat.default, aten.concatenate.default}
    for node in [node for node in graph.nodes if node.target in joins]:
        wanted = node.meta["val"].dtype
        operands = []
        for operand in node.args[0]:
            if operand.meta["val"].dtype != wanted:
                with graph.inserting_before(node):
                    cast = graph.call_function(
                        aten._to_copy.default, (operand,), {"dtype": wanted}
                    )
                cast.meta = {**node.meta, "val": operand.meta["val"].to(wanted)}
                operands.append(cast)
            else:
                operands.append(operand)
        node.args = (operands, *node.args[1:])


def _drop_no_ops(graph: torch.fx.Graph) -> None:
    """Removes what computes nothing in eval mode: dropout, contiguous, no-op casts.

    With these gone every remaining ATen operator has a direct ONNX translation, so lowering
    can skip ``run_decompositions``, which would trace the whole program twice more.
    """
    aten = torch.ops.aten
    identities = {aten.dropout.default, aten.contiguous.default, aten.alias.default}
    casts = {aten.to.dtype, aten.to.dtype_layout, aten.to.device, aten.type_as.default}
    for node in list(graph.nodes):
        if node.target is aten._assert_tensor_metadata.default:
            graph.erase_node(node)
            continue
        same = node.target in casts and (
            node.meta["val"].dtype == node.args[0].meta["val"].dtype
        )
        if same or node.target in identities:
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
        elif node.target in casts:
            node.target = aten._to_copy.default
            node.args, node.kwargs = node.args[:1], {"dtype": node.meta["val"].dtype}
    graph.lint()
