"""What a UNet and its ControlNets compute alike belongs to the UNet."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from exporter import metadata as meta
from exporter.conditions.controlnet import is_net
from exporter.paths import is_inside


class SharedNets(ir.passes.InPlacePass):
    """Moves nodes inside a net that others read too to the same place in the UNet.

    Nets and UNet embed the timestep alike, and common subexpressions are computed once: by the
    net, which comes first. The UNet would then take its sinusoid from a ControlNet.

    Args:
        classes: Qualified class of every module by path.
    """

    def __init__(self, classes: Mapping[str, str]) -> None:
        super().__init__()
        self.classes = classes

    def call(self, model: ir.Model) -> ir.passes.PassResult:  # noqa: D102
        modified = False
        for node in reversed(list(model.graph)):
            path = node.metadata_props.get(meta.MODULE, "")
            net, _, own = path.partition(".")
            if not is_net(net) or own not in self.classes or not own:
                continue
            users = [use.node for value in node.outputs for use in value.uses()]
            paths = [user.metadata_props.get(meta.MODULE, net) for user in users]
            if all(is_inside(path, net) for path in paths):
                continue
            node.metadata_props[meta.MODULE] = own
            node.metadata_props[meta.CLASS] = self.classes[own]
            modified = True
        return ir.passes.PassResult(model, modified)
