"""Roles of whole UNets, held against the PyTorch modules they were traced from."""

import importlib
import inspect
from dataclasses import asdict

import pytest
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D

from exporter import metadata as meta
from exporter.values import dims
from exporter.weights.unet import build_unet

NAMES = (
    "micro", "tiny", "tiny-xl", "ddpm", "text-in-attn1", "added-kv", "resnet-steps",
)  # fmt: skip
ATTENTIONS = ("cross_attention", "self_attention", "joint_attention")


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.fixture
def nodes(workshop, name):
    return list(workshop.graph(name).model.graph)


@pytest.fixture
def unet(workshop, name):
    return build_unet(workshop.source(name))


def _props(nodes, key, role=None):
    wanted = (n.metadata_props for n in nodes if role in (None, n.metadata_props[meta.ROLE]))
    return [props[key] for props in wanted if key in props]


def _expected_role(attention):
    if not attention.is_cross_attention and attention.added_kv_proj_dim is None:
        return "self_attention"
    joint = attention.added_kv_proj_dim is not None and not attention.only_cross_attention
    return "joint_attention" if joint else "cross_attention"


def test_counts_are_the_architectures(workshop, name, unet):
    modules = list(unet.modules())
    attentions = [_expected_role(m) for m in modules if isinstance(m, Attention)]
    resnets = [m for m in modules if isinstance(m, ResnetBlock2D)]
    scaled = sum(m.time_embedding_norm == "scale_shift" for m in resnets)
    assert asdict(workshop.graph(name).roles) == {
        **{role: attentions.count(role) for role in ATTENTIONS},
        "time_injection": len(resnets) + scaled,  # a Mul and an Add
        "resnet": len(resnets),
        "skip": sum(len(block.resnets) for block in unet.up_blocks),
        "downsample": sum(block.downsamplers is not None for block in unet.down_blocks),
        "upsample": sum(block.upsamplers is not None for block in unet.up_blocks),
        "condition": 0,
        "image_prompt": 0,
    }


def test_every_attention_has_the_role_of_what_it_reads(nodes, unet):
    anchors = [node.metadata_props for node in nodes if meta.Q in node.metadata_props]
    assert len(anchors) == sum(isinstance(m, Attention) for m in unet.modules())
    for props in anchors:
        attention = unet.get_submodule(props[meta.MODULE])
        assert props[meta.ROLE] == _expected_role(attention)
        assert int(props[meta.HEADS]) == attention.heads
        assert int(props[meta.HEAD_DIM]) == attention.inner_dim // attention.heads
        assert "sample" in props[meta.Q].split(",")
        for key in (meta.K, meta.V):
            reads = set(props[key].split(","))
            assert ("sample" in reads) == (props[meta.ROLE] != "cross_attention")
            if props[meta.ROLE] == "cross_attention":
                assert reads == {"encoder_hidden_states"}


def test_injections_know_their_resnet(nodes, unet):
    found = _props(nodes, meta.RESNET, "time_injection")
    assert set(found) == {
        path for path, m in unet.named_modules() if isinstance(m, ResnetBlock2D)
    }
    assert _props(nodes, meta.RESNET) == found


def test_skips_pair_a_source_with_a_sink(nodes, unet):
    count = sum(len(block.resnets) for block in unet.up_blocks)
    ids = [str(i) for i in range(count)]
    for key in (meta.SKIP_SOURCE, meta.SKIP_SINK):
        found = [i for text in _props(nodes, key) for i in text.split(",")]
        assert sorted(found, key=int) == ids
    sinks = [n for n in nodes if meta.SKIP_SINK in n.metadata_props]
    assert all(n.metadata_props[meta.ROLE] == "skip" for n in sinks)
    assert all(n.op_type == "Concat" for n in sinks)
    # U-shaped: what was produced last is taken first
    assert [n.metadata_props[meta.SKIP_SINK] for n in sinks] == ids[::-1]
    taken = {value.name for n in sinks for value in n.inputs}
    assert {f"skip_{i}" for i in ids} <= taken


def test_sides_and_levels_are_the_modules(nodes, unet):
    levels = len(unet.down_blocks)
    for node in nodes:
        props, (block, _, rest) = node.metadata_props, _split(node)
        side = {"down_blocks": "down", "mid_block": "mid", "up_blocks": "up"}.get(block)
        if side is None or meta.SIDE not in props:
            continue
        assert props[meta.SIDE] == side
        if block == "down_blocks" and "downsamplers" not in rest and meta.LEVEL in props:
            assert props[meta.LEVEL] == rest.partition(".")[0]
        if block == "mid_block" and meta.LEVEL in props:
            assert props[meta.LEVEL] == str(levels - 1)


def _split(node):
    return node.metadata_props[meta.MODULE].partition(".")


def test_every_node_says_where_it_comes_from(nodes, unet):
    for node in nodes:
        props = node.metadata_props
        module = unet.get_submodule(props[meta.MODULE])
        kind = type(module)
        assert props[meta.CLASS] == f"{kind.__module__}.{kind.__qualname__}"
        assert props[meta.ROLE] in meta.ROLES
        file, line = props[meta.SOURCE].rsplit(":", 1)
        source = importlib.import_module(file.removesuffix(".py").replace("/", "."))
        assert 0 < int(line) <= len(inspect.getsource(source).splitlines())


def test_all_metadata_is_under_our_prefix(nodes):
    keys = {key for node in nodes for key in node.metadata_props}
    assert {key for key in keys if not key.startswith(meta.PREFIX)} == set()


def test_every_value_has_a_named_shape(nodes):
    letters = set("BHWST/0123456789*+")
    for node in nodes:
        for value in node.outputs:
            shape = dims(value)
            assert shape is not None, value
            assert value.dtype is not None, value
            assert all(isinstance(d, int) or set(d) <= letters for d in shape), shape


def test_the_ends_are_the_input_and_output_convolutions(nodes):
    for role in ("conv_in", "conv_out"):
        convolutions = [
            n for n in nodes if n.op_type == "Conv" and n.metadata_props[meta.ROLE] == role
        ]
        assert [n.metadata_props[meta.MODULE] for n in convolutions] == [role]
    assert "conv_norm_out" in _props(nodes, meta.MODULE, "conv_out")


def test_the_time_path_is_a_time_embedding(nodes):
    by_module = {n.metadata_props[meta.MODULE]: n.metadata_props[meta.ROLE] for n in nodes}
    paths = [path for path in by_module if path.startswith(("time_proj", "time_embedding"))]
    assert paths
    assert all(by_module[path] == "time_embedding" for path in paths)
    embeddings = [path for path in by_module if path.endswith(".time_emb_proj")]
    assert embeddings
    assert all(by_module[path] == "time_embedding" for path in embeddings)


def test_names_would_have_misled(workshop):
    """Modules called ``attn1`` that read the text are cross-attentions all the same."""
    nodes = list(workshop.graph("text-in-attn1").model.graph)
    anchors = {
        n.metadata_props[meta.MODULE]: n.metadata_props
        for n in nodes
        if n.metadata_props[meta.MODULE].endswith(".attn1") and meta.Q in n.metadata_props
    }
    roles = {path.partition(".")[0]: props[meta.ROLE] for path, props in anchors.items()}
    assert roles == {
        "down_blocks": "cross_attention",
        "mid_block": "self_attention",  # mid_block_only_cross_attention is off
        "up_blocks": "cross_attention",
    }
    for props in anchors.values():
        text = props[meta.ROLE] == "cross_attention"
        assert props[meta.K] == ("encoder_hidden_states" if text else props[meta.Q])


@pytest.mark.parametrize("opset", [20, 21, 22, 23])
def test_roles_do_not_depend_on_the_opset(workshop, opset):
    wanted = workshop.graph("micro").roles
    graph = workshop.graph("micro", opset)
    assert graph.roles == wanted
    assert graph.model.opset_imports[""] == opset
    heads = [n.metadata_props.get(meta.HEADS) for n in graph.model.graph]
    assert heads.count("2") == wanted.cross_attention + wanted.self_attention
