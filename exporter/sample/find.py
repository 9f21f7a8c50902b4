"""Where an annotated file is measured, found by its annotations and its data flow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import onnx_ir as ir
from onnx_ir.passes.common import InlinePass

from exporter import metadata as meta
from exporter.errors import UsageError
from exporter.reading.flow import Flow
from exporter.reading.summary import summarize
from exporter.sample.points import (
    Block,
    CrossAttention,
    Embedding,
    Injection,
    Points,
    Residual,
    Skip,
)
from exporter.values import dims

DATA_INPUTS = (
    "sample",
    "timestep",
    "encoder_hidden_states",
    "text_embeds",
    "time_ids",
    "timestep_cond",
    "class_labels",
)
_NESTED = {"block", "resnet", "transformer", "downsample", "upsample"}
TEMB = "temb"  # the vector that every resnet receives; docs/FORMAT.md, Functions


def find_points(model: ir.Model) -> Points:
    """What can be measured in an annotated model, folded or flat.

    Data flow is read off an inlined copy, annotations off its nodes: inlining keeps both the
    names and the metadata of nodes, so that every name found is one of ``model`` too.

    Args:
        model: As written by the exporter; not modified.

    Raises:
        UsageError: The file carries no annotations.
    """
    flat = _inlined(model)
    nodes = [node for node in flat if meta.MODULE in node.metadata_props]
    if meta.PREFIX + "format" not in model.metadata_props or not nodes:
        raise UsageError(
            "the file carries no atlas annotations",
            "one written by python -m exporter",
            "export it again",
        )
    try:
        return _read(nodes, Flow(flat, DATA_INPUTS))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        said = f"damaged annotations or attributes ({type(error).__name__}: {error})"
        raise UsageError(said, "a file as python -m exporter wrote it") from error


def _read(nodes: list[ir.Node], flow: Flow) -> Points:
    blocks = tuple(_blocks(nodes, flow))
    return Points(
        blocks,
        tuple(_residuals(flow, [block.module for block in blocks])),
        tuple(_injections(flow)),
        tuple(_skips(flow)),
        tuple(_attentions(flow, "cross_attention")),
        next(_embeddings(nodes), None),
        tuple(_attentions(flow, "self_attention")),
    )


def _inlined(model: ir.Model) -> ir.Graph:
    own = {node.name: dict(node.metadata_props) for node in all_nodes(model)}
    try:
        graph = InlinePass()(model.clone()).model.graph
    except Exception as error:  # onnx_ir's, of many classes, for values that nobody makes
        raise UsageError(
            "a graph whose functions cannot be inlined", "a valid model"
        ) from error
    for node in graph:  # inlining adds the metadata of the calls around
        node.metadata_props.clear()
        node.metadata_props.update(own.get(node.name, {}))
    graph.sort()
    return graph


def all_nodes(model: ir.Model) -> Iterator[ir.Node]:
    """Nodes of the main graph and of every function."""
    yield from model.graph
    for function in model.functions.values():
        yield from function


def _blocks(nodes: list[ir.Node], flow: Flow) -> Iterator[Block]:
    found = []
    for path, inside in _modules(nodes).items():
        last = _exit(inside, flow)
        if last is None:
            continue
        summary = summarize(inside, path, "")
        level = flow.level(last)
        found.append(
            (
                flow.order[last],
                -len(inside),
                Block(
                    last.name or "",
                    path,
                    summary.role,
                    summary.side or "",
                    level,
                    dims(last.outputs[0]) or (),
                ),
            )
        )
    roles = {block.module: block.role for *_, block in found}
    for *_, block in sorted(found, key=lambda row: row[:2]):
        if block.role in _NESTED or block.role != _enclosing_role(block.module, roles):
            yield block


def _enclosing_role(path: str, roles: Mapping[str, str]) -> str:
    """Role of the nearest module around; what has its role is a detail of it."""
    while path := path.rpartition(".")[0]:
        if path in roles:
            return roles[path]
    return ""


def _modules(nodes: Iterable[ir.Node]) -> dict[str, list[ir.Node]]:
    """Nodes of each diffusers module, submodules included; lists of modules are none."""
    inside: dict[str, list[ir.Node]] = {}
    wanted: set[str] = set()
    for node in nodes:
        props = node.metadata_props
        path = props[meta.MODULE]
        ours = props.get(meta.CLASS, "").startswith("diffusers.")
        ends = props.get(meta.ROLE) in ("conv_in", "conv_out") and node.op_type == "Conv"
        if ours or ends:
            wanted.add(path)
        while path:
            inside.setdefault(path, []).append(node)
            parent, _, name = path.rpartition(".")
            if not name.isdigit():  # a list's children are numbers
                wanted.add(parent)
            path = parent
    return {path: group for path, group in inside.items() if path in wanted}


def _exit(inside: list[ir.Node], flow: Flow) -> ir.Node | None:
    """The last node whose image leaves the module."""
    members = set(inside)
    for node in reversed(inside):
        value = node.outputs[0]
        users = flow.users(node)
        leaves = value.is_graph_output() or any(user not in members for user in users)
        if leaves and flow.is_image(value) and len(dims(value) or ()) in (3, 4):
            return node
    return None


def _residuals(flow: Flow, modules: list[str]) -> Iterator[Residual]:
    depth = _depths(flow)
    known = set(modules)
    for node in flow.nodes:
        if node.op_type != "Add" or not all(flow.is_image(value) for value in node.inputs):
            continue
        if len({dims(value) for value in node.inputs}) != 1:
            continue
        branch = max((0, 1), key=lambda index: depth.get(node.inputs[index], 0))
        made = _producer(node, branch).metadata_props
        module = made.get(meta.MODULE, "")
        while module and module not in known:
            module = module.rpartition(".")[0]
        yield Residual(node.name or "", module, made.get(meta.ROLE, ""), branch)


def _depths(flow: Flow) -> dict[ir.Value | None, int]:
    """Length of the longest way from an input: of two summands, the branch has the longer."""
    depth: dict[ir.Value | None, int] = {}
    for node in flow.nodes:
        own = 1 + max((depth.get(value, 0) for value in node.inputs), default=0)
        depth.update(dict.fromkeys(node.outputs, own))
    return depth


def _producer(node: ir.Node, operand: int) -> ir.Node:
    value = node.inputs[operand]
    producer = value.producer() if value is not None else None
    assert producer is not None  # an image that is no graph input
    return producer


def _embeddings(nodes: Iterable[ir.Node]) -> Iterator[Embedding]:
    for node in nodes:
        width = (dims(node.outputs[0]) or ("",))[-1]
        if node.outputs[0].name == TEMB and isinstance(width, int):
            yield Embedding(node.name or "", width)


def _injections(flow: Flow) -> Iterator[Injection]:
    for node in _of_role(flow, "time_injection"):
        images = [flow.is_image(value) for value in node.inputs]
        if sum(images) == 1 and len(images) == 2:
            module = node.metadata_props.get(meta.RESNET, node.metadata_props[meta.MODULE])
            yield Injection(node.name or "", module, node.op_type, images.index(False))


def _skips(flow: Flow) -> Iterator[Skip]:
    for node in _of_role(flow, "skip"):
        if node.op_type != "Concat" or len(node.inputs) != 2:
            continue
        ids = node.metadata_props.get(meta.SKIP_SINK, "")
        order = [flow.order[_producer(node, operand)] for operand in (0, 1)]
        waited = order.index(min(order))
        source = _left(_producer(node, waited), flow).metadata_props.get(meta.MODULE, "")
        module = node.metadata_props[meta.MODULE]
        yield Skip(node.name or "", ids, source, module, waited)


def _left(node: ir.Node, flow: Flow) -> ir.Node:
    """Where the trunk left a skip, before a ControlNet's residual was added to it."""
    while node.metadata_props.get(meta.ROLE) == "condition":
        node = _producer(node, [flow.is_image(value) for value in node.inputs].index(True))
    return node


def _attentions(flow: Flow, role: str) -> Iterator[CrossAttention]:
    for node in _of_role(flow, role):
        props = node.metadata_props
        if node.op_type not in ("Attention", "Softmax") or meta.HEADS not in props:
            continue
        yield CrossAttention(
            node.name or "",
            props[meta.MODULE],
            props.get(meta.SIDE, ""),
            int(props.get(meta.LEVEL, 0)),
            int(props[meta.HEADS]),
        )


def _of_role(flow: Flow, role: str) -> Iterator[ir.Node]:
    return (node for node in flow.nodes if node.metadata_props.get(meta.ROLE) == role)
