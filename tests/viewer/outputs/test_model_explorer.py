from __future__ import annotations

import json
import re

import pytest

from viewer.outputs import model_explorer


@pytest.fixture(scope="module")
def graph(atlas, tmp_path_factory):
    path = model_explorer.write(atlas, tmp_path_factory.mktemp("explorer") / "u.json")
    (graph,) = json.loads(path.read_text())["graphs"]
    return graph


def attributes(node):
    return {entry["key"]: entry["value"] for entry in node["attrs"]}


def test_nodes_stand_in_namespaces_and_carry_roles(graph, atlas):
    nodes = {node["id"]: node for node in graph["nodes"]}
    assert len(nodes) == len(graph["nodes"]) == len(atlas.tree.leaves) + 4
    attention = nodes["down_blocks.0/attentions.0/transformer_blocks.0/attn2/Attention"]
    namespace = "down_blocks.0/attentions.0/transformer_blocks.0/attn2"
    assert attention["namespace"] == namespace
    assert attributes(attention)["role"] == "cross_attention"
    assert attributes(attention)["k"] == "encoder_hidden_states"
    assert all(isinstance(e["value"], str) for n in graph["nodes"] for e in n.get("attrs", ()))


def test_edges_lead_to_nodes_and_say_shapes(graph):
    nodes = {node["id"]: node for node in graph["nodes"]}
    for node in graph["nodes"]:
        for edge in node.get("incomingEdges", ()):
            source = nodes[edge["sourceNodeId"]]
            outputs = {output["id"] for output in source["outputsMetadata"]}
            assert edge["sourceNodeOutputId"] in outputs
    (output,) = nodes["conv_in"]["outputsMetadata"]
    assert {"key": "shape", "value": "B×8×H×W"} in output["attrs"]


def test_skips_are_overlays(graph, atlas):
    (data,) = graph["tasksData"]["edgeOverlaysDataListLeftPane"]
    (overlay,) = data["overlays"]
    ends = {(edge["sourceNodeId"], edge["targetNodeId"]) for edge in overlay["edges"]}
    assert ("conv_in", "up_blocks.1/Concat_1") in ends
    assert len(ends) == len(atlas.skips) == 4
    assert all(edge["label"].startswith("skip ") for edge in overlay["edges"])


def test_groups_have_facts_and_colours(graph):
    facts = graph["groupNodeAttributes"]["down_blocks.0/resnets.0"]
    assert facts["class"] == "diffusers.models.resnet.ResnetBlock2D"
    coloured = [
        rule
        for rule in graph["groupNodeConfigs"]
        if re.search(rule["namespaceRegex"], "down_blocks.0/attentions.0")
    ]
    assert [rule["borderColor"] for rule in coloured] == ["#b0307a"]


def test_a_model_without_metadata_says_what_is_missing(stripped, hostile, tmp_path):
    for atlas in (stripped, hostile):
        path = model_explorer.write(atlas, tmp_path / "x.json")
        (graph,) = json.loads(path.read_text())["graphs"]
        assert graph["tasksData"]["edgeOverlaysDataListLeftPane"] == []
        assert "No atlas.format" in graph["groupNodeAttributes"][""]["missing"]
        assert len(graph["nodes"]) > len(atlas.tree.leaves)
