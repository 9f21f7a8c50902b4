"""Every node in its module: strays join their neighbours, shared ones move up."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from exporter import metadata as meta
from exporter.paths import is_inside, parent

INHERITED = (meta.MODULE, meta.CLASS, meta.SOURCE)


class Origins(ir.passes.InPlacePass):
    """Completes ``atlas.module``, ``atlas.class`` and ``atlas.source``.

    - A node that an optimiser made anew takes them from its first user, or its producer.
    - ``Shape`` belongs to whoever reads it, so that no size crosses a module boundary; to the
      UNet itself where it is one of several readers: it may come before the module.
    - A node whose result several modules share, and which reads nothing computed inside its
      own, moves to their common parent: ``nonlinearity(temb)``, once instead of per resnet.

    Args:
        classes: Qualified class of every module by path; may be empty where nothing tells.
        remarks: Keep the metadata that others have written.
    """

    def __init__(self, classes: Mapping[str, str], *, remarks: bool = False) -> None:
        super().__init__()
        self.classes, self.remarks = classes, remarks

    def call(self, model: ir.Model) -> ir.passes.PassResult:  # noqa: D102
        modified = False
        for node in reversed(list(model.graph)):
            modified |= self._settle(node)
        for node in () if self.remarks else model.graph:
            for key in [k for k in node.metadata_props if not k.startswith(meta.PREFIX)]:
                del node.metadata_props[key]  # an optimiser's remarks
                modified = True
        for node in model.graph:  # those with no user of known origin
            if meta.MODULE not in node.metadata_props:
                producers = [v.producer() for v in node.inputs if v is not None]
                modified |= _inherit(node, [p for p in producers if p is not None])
        return ir.passes.PassResult(model, modified)

    def _settle(self, node: ir.Node) -> bool:
        users = list(dict.fromkeys(u.node for v in node.outputs for u in v.uses()))
        if meta.MODULE not in node.metadata_props or node.op_type == "Shape":
            outer = [user for user in users if user.metadata_props.get(meta.MODULE) == ""]
            return _inherit(node, [*outer, *users])
        own = node.metadata_props[meta.MODULE]
        common = _common([user.metadata_props.get(meta.MODULE, "") for user in users])
        home = parent(own)
        if common is None or common == home or not is_inside(home, common):
            return False
        inputs = [value for value in node.inputs if value is not None]
        # has parameters: is its module
        if any(value.is_graph_input() or value.meta.get("parameter") for value in inputs):
            return False
        producers = [value.producer() for value in inputs]
        if any(is_inside(p.metadata_props.get(meta.MODULE, ""), home) for p in producers if p):
            return False
        node.metadata_props[meta.MODULE] = common
        if self.classes.get(common):
            node.metadata_props[meta.CLASS] = self.classes[common]
        else:
            node.metadata_props.pop(meta.CLASS, None)
        return True


def _inherit(node: ir.Node, neighbours: list[ir.Node]) -> bool:
    for neighbour in neighbours:
        if meta.MODULE in neighbour.metadata_props:
            told = neighbour.metadata_props
            wanted = {k: told[k] for k in INHERITED if k in told}
            changed = any(node.metadata_props.get(k) != v for k, v in wanted.items())
            node.metadata_props.update(wanted)
            return changed
    return False


def _common(paths: list[str]) -> str | None:
    if not paths:
        return None
    split = [path.split(".") if path else [] for path in paths]
    shared = []
    for parts in zip(*split, strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return ".".join(shared)
