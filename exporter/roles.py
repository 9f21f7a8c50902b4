"""Roles read from the data flow of a flat graph, written into node metadata."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import onnx_ir as ir

from exporter import metadata as meta
from exporter.conditions.controlnet import COND, OWN_COND
from exporter.conditions.ip_adapter import EMBEDS
from exporter.paths import is_inside
from exporter.reading.attentions import find_attentions
from exporter.reading.flow import Flow, resolution_step
from exporter.reading.modules import children_of, module_of, parent_of, subtrees
from exporter.reading.nets import handed_on, is_control_image, meets_control, own_residuals
from exporter.reading.places import name_values, write_levels, write_sides, write_skips
from exporter.reading.skips import control_of, find_skips, residual_of
from exporter.values import dims

_INJECTING = {"Add", "Sub", "Mul"}


@dataclass(frozen=True)
class Roles:
    """What was found, counted as people count it."""

    cross_attention: int
    self_attention: int
    joint_attention: int
    time_injection: int
    skip: int
    resnet: int
    downsample: int
    upsample: int
    condition: int = 0
    image_prompt: int = 0


def annotate(model: ir.Model, inputs: Iterable[str]) -> Roles:
    """Gives every node its role, side, level and, where they apply, skip ids and Q, K, V.

    Module paths only group nodes (this Add and that Conv ran in the same module); which role
    a group has is decided by edges: see docs/FORMAT.md.

    Args:
        model: A flat, simplified model; modified in place. The values of skip connections
            and of the time embedding are renamed ``skip_0``.. and ``temb``.
        inputs: Names of the inputs that carry data, as opposed to parameters.

    Returns:
        How many of each were found.
    """
    annotator = _Annotator(Flow(model.graph, inputs))
    annotator.run()
    return annotator.roles()


class _Annotator:
    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.attentions = list(find_attentions(flow))
        self.skips = find_skips(flow)
        self.injections = [node for node in flow.nodes if _injects(node, flow)]
        self.residuals = {
            node: residual
            for node in flow.nodes
            if (residual := residual_of(node, flow)) is not None
        }
        self.controls = {
            node: control
            for node in flow.nodes
            if (control := control_of(node, flow)) is not None
        }
        self.beside = self._beside()
        own = own_residuals(flow.graph)
        made = (residual for _, residual in self.controls.values())
        self.handed = handed_on((*own, *made), flow)
        self.taps = handed_on(own[:-1], flow).taps
        self.role: dict[ir.Node, str] = {}
        self.by_module = subtrees(flow.nodes)

    def run(self) -> None:
        self._conditions()
        self._ends()
        self._vectors()
        self._attentions()
        self._resnets()
        self._resolution()
        self._transformers()
        self._rest()
        for node, role in self.role.items():
            node.metadata_props[meta.ROLE] = role
        write_sides(self.flow, self.skips, self.role, self.beside, self.taps)
        write_levels(self.flow)
        write_skips(self.skips)
        name_values(self.flow, self.skips, self.role)

    def roles(self) -> Roles:
        kinds = Counter(attention.role(self.flow) for attention in self.attentions)
        blocks = {node.metadata_props[meta.RESNET] for node in self.injections}
        return Roles(
            kinds["cross_attention"],
            kinds["self_attention"],
            kinds["joint_attention"],
            len(self.injections),
            len(self.skips),
            len(blocks),
            self._changes(1),
            self._changes(-1),
            len(self.residuals) + len(self.controls),
            kinds["image_prompt"],
        )

    def _beside(self) -> set[ir.Node]:
        """What computes a ControlNet's residuals, and is no part of the U."""
        nets: set[ir.Node] = set()
        trunk: set[ir.Node] = set()
        for image, residual in self.controls.values():
            nets |= self.flow.ancestors(residual)
            trunk |= self.flow.ancestors(image)
        return nets - trunk

    def _changes(self, step: int) -> int:
        """Modules that halve or double the image; a resnet that pools both branches is one."""
        found = {
            module_of(node) or node.name or ""
            for node in self.flow.nodes
            if self.flow.level(node) is not None and resolution_step(node) == step
        }
        return sum(not any(is_inside(m, other) for other in found - {m}) for m in found)

    def _around(self, node: ir.Node) -> list[ir.Node]:
        """Nodes of the same module; itself alone where the file tells of no module."""
        module = module_of(node)
        return self.by_module[module] if module else [node]

    def _set(self, nodes: Iterable[ir.Node], role: str) -> None:
        for node in nodes:
            self.role.setdefault(node, role)

    def _conditions(self) -> None:
        for node, residual in self.residuals.items():
            self.role[node] = "condition"
            node.metadata_props[meta.CONDITION] = residual.name or ""
            if not module_of(node):  # a sum that the UNet itself makes, in Netron's first view
                node.name = node.outputs[0].name = f"{residual.name}/Add"
        for index, (node, (_, residual)) in enumerate(self.controls.items()):
            self.role[node] = "condition"
            node.name = node.outputs[0].name = f"controlnet_residual_{index}/Add"
            nets = sorted(s for s in self.flow.sources(residual) if s.startswith(COND))
            node.metadata_props[meta.CONDITION] = ",".join(nets)
        self._set(self.handed.nodes, "zero_convolution")
        for value in own_residuals(self.flow.graph):
            scaled = value.producer()
            if scaled is not None and scaled.op_type == "Mul":
                scaled.name = f"{value.name}/Mul"
        for node in self.flow.nodes:
            if meets_control(node, self.flow):
                self.role[node] = "condition"
                met = self.flow.node_sources(node)
                name = next(iter(sorted(s for s in met if s.startswith(OWN_COND))))
                node.metadata_props[meta.CONDITION] = name

    def _ends(self) -> None:
        """From ``sample`` to the first Conv; from the last sum of branches to the output."""
        self._set((n for n in self.flow.nodes if n.op_type == "Shape"), "shape")
        for node in self.flow.nodes:
            if self.flow.is_image(node.outputs[0]) and node not in self.beside:
                self._set([node], "conv_in")
                if node.op_type == "Conv":
                    break
        outputs = self.flow.graph.outputs
        last = outputs[0].producer() if len(outputs) == 1 else None
        while last is not None and sum(map(self.flow.is_image, last.inputs)) == 1:
            self._set([last], "conv_out")
            before = next(value for value in last.inputs if self.flow.is_image(value))
            last = before.producer() if before is not None else None

    def _vectors(self) -> None:
        """What ``timestep`` becomes before it meets the image, and where it does."""
        for node in self.injections:
            self.role[node] = "time_injection"
            node.metadata_props[meta.RESNET] = module_of(node) or node.name or ""
        feeding: set[ir.Node] = set()
        for node in self.injections:
            for value in node.inputs:
                if value is not None and not self.flow.is_image(value):
                    feeding |= self.flow.ancestors(value)
        vectors = (n for n in feeding if self.flow.node_sources(n))
        self._set(vectors, "time_embedding")

    def _attentions(self) -> None:
        found = [(attention.role(self.flow), attention) for attention in self.attentions]
        # Image prompts first: their modules lie within those of the text's attentions.
        for role, attention in sorted(found, key=lambda one: one[0] != "image_prompt"):
            node = attention.anchor
            self._set(self._around(node), role)
            operands = ((meta.Q, attention.q), (meta.K, attention.k), (meta.V, attention.v))
            for key, value in operands:
                names = [v.name or "" for v in self.flow.graph.inputs]
                sources = sorted(self.flow.sources(value), key=names.index)
                node.metadata_props[key] = ",".join(sources)
            if attention.heads is not None:
                node.metadata_props[meta.HEADS] = str(attention.heads)
            if attention.head_dim is not None:
                node.metadata_props[meta.HEAD_DIM] = str(attention.head_dim)

    def _resnets(self) -> None:
        for injection in self.injections:
            group = self._around(injection)
            self._set((n for n in group if self.flow.is_image(n.outputs[0])), "resnet")

    def _resolution(self) -> None:
        for node in self.flow.nodes:
            step = resolution_step(node) if self.flow.level(node) is not None else 0
            if step and self.role.get(node) in (None, "resnet"):
                role = "downsample" if step > 0 else "upsample"
                self.role[node] = role
                module = self._widest(module_of(node))
                self._set(self.by_module[module] if module else [], role)

    def _transformers(self) -> None:
        """Around attentions: the sibling modules that multiply are MLPs, the rest carries."""
        for attention in self.attentions:
            own = module_of(attention.anchor)
            parent = parent_of(own)
            if parent is None or self._holds_more(parent):
                continue
            for child in children_of(parent, self.by_module):
                group = self.by_module[child]
                products = sum(n.op_type in ("MatMul", "Gemm", "Conv") for n in group)
                if products >= 2 and not any(a.anchor in group for a in self.attentions):
                    self._set(group, "feed_forward")
        for attention in self.attentions:
            widest = self._widest(module_of(attention.anchor))
            if not widest:  # no module is told of
                continue
            group = [n for n in self.by_module[widest] if n not in self.role]
            for node in reversed(group):  # a norm belongs to the branch it feeds
                next_roles = {self.role.get(user) for user in self.flow.users(node)}
                branch = next_roles.pop() if len(next_roles) == 1 else None
                norm = node.op_type in ("LayerNormalization", "GroupNormalization")
                known = branch is not None and norm and branch != "conv_out"
                self.role[node] = branch if known and branch else "transformer"

    def _rest(self) -> None:
        sinks = {skip.sink for skip in self.skips}
        self.role.update(dict.fromkeys(sinks, "skip"))
        for node in reversed(self.flow.nodes):
            if node in self.role:
                continue
            sources = self.flow.node_sources(node)
            if not sources:  # works on parameters alone: belongs to who uses it
                users = self.flow.users(node)
                self.role[node] = self.role.get(users[0], "block") if users else "block"
            else:
                self.role[node] = self._outside(node) or "block"

    def _outside(self, node: ir.Node) -> str:
        """The role of what has not met the image yet."""
        value = node.outputs[0]
        sources = self.flow.sources(value)
        if self.flow.is_image(value):
            return ""
        if "encoder_hidden_states" in sources:
            return "text"
        if any(source.startswith(EMBEDS.removesuffix("_")) for source in sources):
            return "image_prompt"
        return "control_image" if is_control_image(value, self.flow) else ""

    def _widest(self, module: str) -> str:
        """The largest module around ``module`` that holds no resnet, skip or more."""
        while (parent := parent_of(module)) is not None and not self._holds_more(parent):
            module = parent
        return module

    def _holds_more(self, module: str) -> bool:
        group = self.by_module[module]
        return not module or any(
            self.role.get(node) in ("time_injection", "skip", "conv_in")
            or (node.op_type == "Concat" and any(node is s.sink for s in self.skips))
            for node in group
        )


def _injects(node: ir.Node, flow: Flow) -> bool:
    """A vector that knows the timestep and not the image, put onto the image."""
    if node.op_type not in _INJECTING or len(node.inputs) != 2:
        return False
    images = [flow.is_image(value) for value in node.inputs]
    if sum(images) != 1:
        return False
    vector = node.inputs[images.index(False)]
    return "timestep" in flow.sources(vector) and len(dims(node.outputs[0]) or ()) >= 3
