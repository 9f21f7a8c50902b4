"""Names one can read: module path and operator."""

from __future__ import annotations

from collections import Counter

import onnx_ir as ir

from exporter import metadata as meta


class Names(ir.passes.InPlacePass):
    """Names nodes ``down_blocks.0.resnets.1.conv1/Conv`` and values after their node.

    ONNX Runtime refuses two nodes of one name; the second in a module gets ``_1``.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:  # noqa: D102
        seen: Counter[str] = Counter()
        outputs = set(model.graph.outputs)
        for node in model.graph:
            module = node.metadata_props.get(meta.MODULE, "")
            base = f"{module}/{node.op_type}" if module else node.op_type
            node.name = base if not seen[base] else f"{base}_{seen[base]}"
            seen[base] += 1
            for index, value in enumerate(node.outputs):
                if value not in outputs:
                    value.name = f"{node.name}:{index}" if index else node.name
        return ir.passes.PassResult(model, modified=True)


def free_name(name: str, taken: set[str | None]) -> str:
    """``name``, or with the first number that makes it new; added to ``taken``."""
    wanted, count = name, 0
    while name in taken:
        count += 1
        name = f"{wanted}_{count}"
    taken.add(name)
    return name
