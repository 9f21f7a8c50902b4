from __future__ import annotations

import re
import stat
import xml.etree.ElementTree as ET

import pytest

from tests.viewer.outputs.hostile import HOSTILE, needs_graphviz
from viewer.errors import TargetError
from viewer.outputs import graphviz
from viewer.outputs.figures.dot import to_dot
from viewer.outputs.figures.drawing import draw
from viewer.outputs.figures.figure import OPERATORS

SVG = "{http://www.w3.org/2000/svg}"
A4 = (595, 842)


def texts(svg):
    return ["".join(node.itertext()) for node in ET.fromstring(svg).iter(f"{SVG}text")]


@needs_graphviz
@pytest.mark.parametrize("depth", [1, 2, OPERATORS])
def test_names_and_shapes_are_in_the_figure(atlas, tmp_path, depth):
    svg = graphviz.write(atlas, tmp_path / "u.svg", depth).read_text()
    shown = texts(svg)
    wanted = {1: "CrossAttnDownBlock2D", 2: "ResnetBlock2D", OPERATORS: "conv1 · 8×8×3×3"}
    assert any(wanted[depth] in text for text in shown)
    assert any("B×8×H/2×W/2" in text for text in shown)
    assert [entry.name for entry in tmp_path.iterdir()] == ["u.svg"]


@needs_graphviz
@pytest.mark.parametrize("depth", [1, 2])
def test_the_u_fits_an_a4_page(atlas, tmp_path, depth):
    svg = ET.fromstring(graphviz.write(atlas, tmp_path / "u.svg", depth).read_bytes())
    width, height = (float(svg.get(side).removesuffix("pt")) for side in ("width", "height"))
    assert width <= A4[0]
    assert height <= A4[1]
    assert "scale(1 1)" in svg.find(f"{SVG}g").get("transform")


@needs_graphviz
@pytest.mark.parametrize(("name", "magic"), [("u.pdf", b"%PDF-"), ("u.png", b"\x89PNG")])
def test_other_formats(atlas, tmp_path, name, magic):
    assert graphviz.write(atlas, tmp_path / name).read_bytes().startswith(magic)


@needs_graphviz
def test_every_box_has_its_cluster_and_the_place_it_was_given(atlas, tmp_path):
    svg = graphviz.write(atlas, tmp_path / "u.svg", 2).read_text()
    clusters = [g for g in ET.fromstring(svg).iter(f"{SVG}g") if g.get("class") == "cluster"]
    assert len(clusters) == 5
    assert not re.search(r"nan|inf", to_dot(draw(atlas, 2)))


@needs_graphviz
@pytest.mark.parametrize("depth", [1, OPERATORS])
def test_hostile_names_are_only_text(hostile, tmp_path, depth):
    svg = graphviz.write(hostile, tmp_path / "x.svg", depth).read_bytes()
    tags = {node.tag.removeprefix(SVG) for node in ET.fromstring(svg).iter()}
    assert tags <= {"svg", "g", "title", "polygon", "path", "text", "polyline"}
    assert any("<IMG SRC=" in text for text in texts(svg))
    assert HOSTILE.encode() not in svg


def test_dot_needs_no_graphviz(atlas, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert graphviz.write(atlas, tmp_path / "u.dot").read_text().startswith("// neato -n2")
    focus = graphviz.write(atlas, tmp_path / "m.gv", 1, "mid_block.resnets.0")
    assert focus.read_text().startswith("// dot ")


def test_graphviz_missing_says_how_to_install_it_and_keeps_the_dot(
    atlas, tmp_path, monkeypatch
):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        TargetError, match=r"install Graphviz .*apt install graphviz"
    ) as caught:
        graphviz.write(atlas, tmp_path / "u.pdf")
    assert "apt install graphviz" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [entry.name for entry in tmp_path.iterdir()] == ["u.dot"]


def test_graphviz_failing_leaves_no_figure(atlas, tmp_path, monkeypatch):
    program = tmp_path / "bin" / "neato"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho half; echo 'no such font' >&2; exit 3\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}:/bin:/usr/bin")
    with pytest.raises(TargetError, match="no such font"):
        graphviz.write(atlas, tmp_path / "u.svg")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["bin", "u.dot"]


def test_an_unknown_format_is_refused_before_any_work(atlas, tmp_path):
    with pytest.raises(TargetError, match=r"u\.jpeg.*one of \.svg"):
        graphviz.write(atlas, tmp_path / "u.jpeg")
    assert not list(tmp_path.iterdir())
