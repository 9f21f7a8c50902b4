"""Model Explorer's JSON graph collection: namespaces, roles, and skips as edge overlays.

Source: ``GraphCollection``, ``EdgeOverlaysData`` and ``GroupNodeConfig`` in google-ai-edge's
model-explorer, src/ui/src/components/visualizer/common. Only JSON is written; the viewer
(``pip install ai-edge-model-explorer``) is not needed for that.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from viewer.disk import write_whole
from viewer.model.atlas import Atlas
from viewer.model.tree import Node, Value
from viewer.outputs.figures.figure import count_text, shape_text
from viewer.outputs.roles import LOOKS, ROLE_OF_FLOW, look, shown_role, tint
from viewer.outputs.scopes import Scopes
from viewer.outputs.skips import crossings


def write(atlas: Atlas, path: Path) -> Path:
    """Writes a graph collection of one graph.

    Args:
        atlas: A read model.
        path: A ``.json`` file.

    Raises:
        TargetError: The file cannot be written.
    """
    text = json.dumps(collection(atlas), ensure_ascii=False, separators=(",", ":"))
    write_whole(path, text.encode(errors="replace"))
    return path


def collection(atlas: Atlas) -> dict[str, Any]:
    """The model as plain data in Model Explorer's form."""
    tree, scopes = atlas.tree, Scopes(atlas)
    nodes = [_port(scopes, tree.values[v], name, "") for v, name in scopes.inputs.items()]
    nodes += [_node(scopes, leaf) for leaf in tree.leaves]
    for value, name in scopes.outputs.items():
        nodes.append(_port(scopes, tree.values[value], name, "output"))
    graph = {
        "id": atlas.name,
        "nodes": nodes,
        "groupNodeAttributes": _groups(scopes),
        "groupNodeConfigs": _group_styles(scopes),
        "tasksData": {"edgeOverlaysDataListLeftPane": _overlays(scopes)},
    }
    return {"label": atlas.file.path.name, "graphs": [graph]}


def _node(scopes: Scopes, leaf: Node) -> dict[str, Any]:
    name, tree = scopes.names[leaf.id], scopes.atlas.tree
    values = [tree.values[value] for value in leaf.inputs if value >= 0]
    node: dict[str, Any] = {
        "id": name,
        "label": leaf.op,
        "namespace": name.rpartition("/")[0],
        "attrs": [{"key": key, "value": text} for key, text in scopes.facts(leaf).items()],
        "incomingEdges": _edges(scopes, values),
        "outputsMetadata": [
            _metadata(index, tree.values[value]) for index, value in enumerate(leaf.outputs)
        ],
    }
    if leaf.role in LOOKS:
        node["style"] = _style(leaf.role)
    return node


def _port(scopes: Scopes, value: Value, name: str, kind: str) -> dict[str, Any]:
    node: dict[str, Any] = {"id": name, "label": value.name, "namespace": ""}
    node["outputsMetadata"] = [_metadata(0, value)]
    if kind == "output":
        node["incomingEdges"] = _edges(scopes, [value])
    role = ROLE_OF_FLOW.get(value.flow)
    if role:
        node["style"] = _style(role)
    return node


def _edges(scopes: Scopes, values: list[Value]) -> list[dict[str, str]]:
    origins = (scopes.origin(value) for value in values)
    return [
        {
            "sourceNodeId": origin[0],
            "sourceNodeOutputId": str(origin[1]),
            "targetNodeInputId": str(index),
        }
        for index, origin in enumerate(origins)
        if origin is not None
    ]


def _metadata(index: int, value: Value) -> dict[str, Any]:
    """Model Explorer writes the attribute ``shape`` on edges."""
    said = {"shape": shape_text(value.shape), "dtype": value.dtype.lower(), "name": value.name}
    attrs = [{"key": key, "value": text} for key, text in said.items() if text]
    return {"id": str(index), "attrs": attrs}


def _style(role: str) -> dict[str, str]:
    colour = look(role).colour
    return {"backgroundColor": tint(colour, 0.15), "borderColor": colour}


def _groups(scopes: Scopes) -> dict[str, dict[str, str]]:
    """Facts of each call by namespace; the model's own under the empty one."""
    atlas = scopes.atlas
    model = {
        "model": atlas.name,
        "class": atlas.metadata.get("atlas.model.class", ""),
        "parameters": count_text(atlas.params),
        "parity": atlas.standing.text,
        "weights": atlas.weights_note,
        "missing": " ".join(atlas.missing),
    }
    groups = {"": {key: text for key, text in model.items() if text}}
    for node in atlas.tree.nodes:
        if node.kind != "op":
            groups[scopes.scope(node)] = scopes.facts(node)
    return groups


def _group_styles(scopes: Scopes) -> list[dict[str, str]]:
    """One rule a role; a group has the colour of what it is known for."""
    tree = scopes.atlas.tree
    members: dict[str, list[str]] = {}
    for node in tree.nodes:
        role = shown_role(tree, node) if node.kind != "op" else ""
        if role in LOOKS and role != "block":
            members.setdefault(role, []).append(re.escape(scopes.scope(node)))
    return [
        {
            "namespaceRegex": f"^(?:{'|'.join(names)})$",
            "backgroundColor": tint(look(role).colour, 0.08),
            "borderColor": look(role).colour,
        }
        for role, names in members.items()
    ]


def _overlays(scopes: Scopes) -> list[dict[str, Any]]:
    """Skips as lines over the graph."""
    skips = []
    for skip, value, reader in crossings(scopes.atlas):
        origin = scopes.origin(scopes.atlas.tree.values[value])
        if origin is not None:
            skips.append(
                {
                    "sourceNodeId": origin[0],
                    "targetNodeId": scopes.names[reader],
                    "label": f"skip {skip.id}: {shape_text(skip.shape)}",
                }
            )
    if not skips:
        return []
    overlay = {
        "name": "skip connections",
        "edgeColor": look("skip").colour,
        "edgeWidth": 2,
        "edges": skips,
    }
    return [{"type": "edge_overlays", "name": "UNet", "overlays": [overlay]}]
