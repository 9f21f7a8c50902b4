from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.graph_pb2 import GraphDef

from viewer.errors import TargetError
from viewer.outputs import tensorboard


def seen(folder: Path) -> GraphDef:
    """The graph as TensorBoard itself reads it."""
    return EventAccumulator(str(folder)).Reload().Graph()


@pytest.fixture(scope="module")
def graph(atlas, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    tensorboard.write(atlas, folder)
    return seen(folder / "tiny")


def test_scopes_are_the_hierarchy(graph, atlas):
    names = {node.name for node in graph.node}
    scopes = {name.rpartition("/")[0] for name in names} - {""}
    calls = {node.path for node in atlas.tree.nodes if node.children}
    assert calls <= scopes | {scope.rpartition("/")[0] for scope in scopes}
    assert "down_blocks.0/resnets.0/conv1" in names
    assert "down_blocks.0/attentions.0/transformer_blocks.0/attn2/Attention" in names
    assert not names & scopes
    assert len(names) == len(graph.node) == len(atlas.tree.leaves) + 4


def test_edges_are_the_graphs(graph, atlas):
    nodes = {node.name: node for node in graph.node}
    for node in graph.node:
        assert all(source.partition(":")[0] in nodes for source in node.input)
    assert list(nodes["conv_in"].input) == ["sample"]
    assert list(nodes["out_sample"].input) == ["conv_out"]
    assert "conv_in" in nodes["up_blocks.1/Concat_1"].input


def test_roles_are_devices_and_shapes_are_on_edges(graph):
    nodes = {node.name: node for node in graph.node}
    attention = nodes["down_blocks.0/attentions.0/transformer_blocks.0/attn2/Attention"]
    assert attention.device == "/device:cross_attention:0"
    assert attention.attr["shape"].s == b"BxHWx8"
    assert attention.attr["heads"].s == b"2"
    (shape,) = attention.attr["_output_shapes"].list.shape
    assert [dim.size for dim in shape.dim] == [1, 256, 8]
    assert nodes["conv_in"].device == ""


def test_a_second_time_replaces_the_run(atlas, tmp_path):
    first = tensorboard.write(atlas, tmp_path / "a" / "b")
    content = first.read_bytes()
    assert tensorboard.write(atlas, tmp_path / "a" / "b") == first
    assert first.read_bytes() == content
    assert list(first.parent.iterdir()) == [first]


def test_any_model_gives_a_graph(stripped, hostile, tmp_path):
    for atlas in (stripped, hostile):
        tensorboard.write(atlas, tmp_path)
        nodes = seen(tmp_path / atlas.file.path.stem).node
        assert len({node.name for node in nodes}) == len(nodes)
        assert all(set(node.name).isdisjoint('<>"&\n ') for node in nodes)


def test_a_file_where_the_folder_should_be(atlas, tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(TargetError, match="folder"):
        tensorboard.write(atlas, tmp_path / "runs")


def test_neither_tensorflow_nor_torch_is_loaded(tiny, tmp_path):
    code = (
        "import sys; from pathlib import Path; from viewer.cli import main; "
        f"assert main([{str(tiny)!r}, '--tensorboard', {str(tmp_path)!r}]) == 0; "
        "assert not {'torch', 'tensorflow'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "wrote " in done.stdout


@pytest.fixture
def served(atlas, tmp_path):
    tensorboard.write(atlas, tmp_path)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(tmp_path)]
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port), "--load_fast", "false"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}/"
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(url, timeout=5).close()
                break
            except OSError:
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(10)


def test_a_real_tensorboard_shows_the_u(chromium, served):
    page = chromium.new_page(viewport={"width": 1400, "height": 900})
    try:
        page.goto(f"{served}#graphs&run=tiny")
        for block in ("down_blocks.0", "mid_block", "up_blocks.1", "time_embedding"):
            page.wait_for_selector(f'g.node.meta[data-name="{block}"]', state="attached")
        page.get_by_text("Device", exact=True).first.click()
        page.wait_for_selector("text=cross_attention:0")
    finally:
        page.close()
