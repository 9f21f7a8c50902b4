"""``anatomy FILE CHECKPOINT``: what a graph consists of, and what it says of its origin."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import onnx

from exporter.source import load_source
from exporter.weights.unet import build_unet

_BRACKETS = re.compile(r"\[([^\]]+)\]")


def main(path: str, checkpoint: str) -> None:
    """Prints the figures of one file."""
    modules = {name for name, _ in build_unet(load_source(checkpoint)).named_modules()}
    read = {".onnx": _onnx, ".dot": _dot}.get(Path(path).suffix, _events)
    sys.stdout.write(json.dumps(read(Path(path), modules)) + "\n")


def _onnx(path: Path, modules: set[str]) -> dict[str, float]:
    model = onnx.load(str(path), load_external_data=False)
    bodies = [model.graph.node, *(function.node for function in model.functions)]
    working = [node for body in bodies for node in body if node.op_type != "Constant"]
    flat = operators(model)
    return {
        "nodes": sum(node.op_type != "Constant" for node in model.graph.node),
        "operators": sum(flat.values()) - flat["weight Transpose"],
        "weight_transposes": flat["weight Transpose"],
        "functions": len(model.functions),
        "coverage": _share(any(_known(p, modules) for p in _said(n)) for n in working),
        "named": _share(_known(_of_name(node.name), modules) for node in working),
    }


def operators(model: onnx.ModelProto) -> Counter[str]:
    """Nodes by kind with every function expanded, Constants aside.

    A Transpose of a stored weight counts as ``weight Transpose``.
    """
    functions = {(one.domain, one.name): one for one in model.functions}
    initializers = {one.name for one in model.graph.initializer}

    def count(nodes: Iterable[Any], constants: set[str]) -> Counter[str]:
        found: Counter[str] = Counter()
        stored = set(constants)
        for node in nodes:
            if node.op_type == "Constant":
                stored.update(node.output)
            elif (node.domain, node.op_type) in functions:
                found += count(functions[node.domain, node.op_type].node, set())
            elif node.op_type == "Transpose" and node.input[0] in stored:
                found["weight Transpose"] += 1
            else:
                found[node.op_type] += 1
        return found

    return count(model.graph.node, initializers)


def _said(node: Any) -> Iterator[str]:
    """Module paths in a node's metadata: ours, and those of PyTorch's exporter."""
    said = {item.key: item.value for item in node.metadata_props}
    if "atlas.module" in said:
        yield said["atlas.module"]
    scopes = said.get("pkg.torch.onnx.name_scopes")
    if scopes:
        yield from re.findall(r"'([^']*)'", scopes)[1:-1]  # the model, ..., the node itself


def _of_name(name: str) -> str | None:
    """The scope in a name such as ``/unet/conv_in/Conv``, as TorchScript's exporter writes."""
    return ".".join(name.strip("/").split("/")[:-1]) or None


def _known(path: str | None, modules: set[str]) -> bool:
    """Whether the UNet has that module; the wrapper around it in ``peers`` is called unet."""
    return path is not None and path.removeprefix("unet").removeprefix(".") in modules


def _share(facts: Iterable[bool]) -> float:
    listed = list(facts)
    return sum(listed) / len(listed)


def _dot(path: Path, modules: set[str]) -> dict[str, float]:
    lines = path.read_text().splitlines()
    nodes = [line for line in lines if "[label=" in line and "->" not in line]
    named = sum(any(f"{part} " in line for part in modules if part) for line in nodes)
    return {"nodes": len(nodes), "operators": len(nodes), "named": named / len(nodes)}


def _events(folder: Path, modules: set[str]) -> dict[str, float]:
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.compat.proto.graph_pb2 import GraphDef

    for file in sorted(folder.glob("events.out.*")):
        for event in EventFileLoader(str(file)).Load():
            if event.graph_def:
                nodes = GraphDef.FromString(event.graph_def).node
                work = [node.name for node in nodes if node.op.startswith("aten::")]
                named = _share(_known(".".join(_BRACKETS.findall(n)), modules) for n in work)
                return {"nodes": len(nodes), "operators": len(work), "named": named}
    raise SystemExit(f"error: no graph in {folder}")


if __name__ == "__main__":
    main(*sys.argv[1:])
