from __future__ import annotations

import itertools

import pytest

from viewer.errors import TargetError
from viewer.outputs.figures.drawing import draw
from viewer.outputs.figures.figure import OPERATORS, Arrow, Box, Figure, shapes_text
from viewer.outputs.figures.layout import place
from viewer.outputs.figures.ranks import pairs


def title(figure, identifier):
    return figure.boxes[identifier].title


def arrows(figure, flow):
    return [
        (title(figure, arrow.source), title(figure, arrow.target))
        for arrow in figure.arrows
        if arrow.flow == flow
    ]


def test_depth_1_is_the_u(atlas):
    figure = draw(atlas, 1)
    columns = {box.title: box.column for box in figure.boxes}
    assert columns == {
        "sample": "left",
        "Conv": "left",
        "down_blocks.0": "left",
        "down_blocks.1": "left",
        "mid_block": "mid",
        "up_blocks.0": "right",
        "up_blocks.1": "right",
        "conv_out": "right",
        "out_sample": "right",
        "timestep": "top",
        "time_embedding": "top",
        "encoder_hidden_states": "top",
    }
    assert sorted(arrows(figure, "skip")) == [
        ("Conv", "up_blocks.1"),
        ("down_blocks.0", "up_blocks.0"),
        ("down_blocks.0", "up_blocks.1"),
        ("down_blocks.1", "up_blocks.0"),
    ]
    (down,) = (box for box in figure.boxes if box.title == "down_blocks.0")
    assert down.strip == ("resnet", "cross_attention", "downsample")
    assert down.takes == ("time", "text")
    written = atlas.tree.by_path["down_blocks.0"].metadata["atlas.params"]
    assert down.params == int(written) > 2000


def test_time_and_text_are_chips_where_they_enter(atlas):
    figure = draw(atlas, 2)
    assert {(bus.flow, bus.name) for bus in figure.buses} == {
        ("time", "temb"),
        ("text", "encoder_hidden_states"),
    }
    takes = {box.takes for box in figure.boxes if box.title.startswith("resnets")}
    assert takes == {("time",)}
    assert not arrows(figure, "text")


@pytest.mark.parametrize("depth", [1, 2, 3, OPERATORS])
def test_nothing_that_carries_data_is_lost(atlas, depth):
    """Every operator is in one box, and every read of a value is an arrow or a chip."""
    figure, tree = draw(atlas, depth), atlas.tree
    owner = {
        leaf.id: box.id
        for box in figure.boxes
        for node in box.nodes
        for leaf in tree.inside(tree.nodes[node])
        if leaf.kind == "op"
    }
    joined = {box.title for box in figure.boxes if box.joins}
    folded = 4 if joined else 0  # the four Concats, drawn as their readers' second input
    assert len(owner) + folded + figure.hidden == len(tree.leaves)
    drawn = {(arrow.source, arrow.target) for arrow in figure.arrows}
    chips = {box.id: box.takes for box in figure.boxes}
    for value in tree.values:
        if value.flow == "shape" or value.producer not in owner:
            continue
        for reader in tree.consumers.get(value.id, ()):
            edge = (owner[value.producer], owner.get(reader, owner[value.producer]))
            assert edge[0] == edge[1] or edge in drawn or value.flow in chips[edge[1]]


def test_operators_show_their_weights_and_bookkeeping_is_only_counted(atlas):
    figure = draw(atlas, OPERATORS)
    notes = {box.note for box in figure.boxes if box.title == "Conv"}
    assert "conv1 · 8×8×3×3" in notes
    assert figure.hidden == sum(1 for leaf in atlas.tree.leaves if leaf.op == "Shape") == 2
    assert not any(box.title == "Shape" for box in figure.boxes)


def test_one_module_alone_has_its_own_names_at_the_border(atlas):
    figure = draw(atlas, 1, "down_blocks.0.resnets.0")
    assert {box.title for box in figure.boxes if box.kind == "input"} == {"hidden", "temb"}
    assert ("temb", "MatMul") in arrows(figure, "time")
    assert not figure.is_u
    roles = {box.role for box in figure.boxes if box.title == "Add"}
    assert roles == {"resnet", "time_injection"}


def test_a_wrong_module_is_told_the_right_ones(atlas):
    with pytest.raises(TargetError, match=r"no module 'down_block\.0'.*down_blocks\.0"):
        draw(atlas, 1, "down_block.0")


@pytest.mark.parametrize("depth", [1, 2, OPERATORS])
def test_a_model_without_metadata_is_drawn_as_far_as_it_goes(stripped, depth):
    figure = draw(stripped, depth)
    assert not figure.is_u
    assert {box.kind for box in figure.boxes} >= {"input", "op", "output"}
    assert place(figure) is None


@pytest.mark.parametrize("depth", [1, 2])
def test_the_u_stands_down_left_mid_below_up_right(atlas, depth):
    figure = draw(atlas, depth)
    rects = place(figure).boxes
    by_column = {
        column: [rects[box.id] for box in figure.boxes if box.column == column]
        for column in ("left", "mid", "right", "top")
    }
    assert max(r.right for r in by_column["left"]) < min(r.left for r in by_column["right"])
    sides = by_column["left"] + by_column["right"]
    assert max(r.top for r in by_column["mid"]) < min(r.bottom for r in sides)
    assert min(r.bottom for r in by_column["top"]) > max(r.top for r in by_column["left"])
    for a, b in itertools.combinations(rects.values(), 2):
        apart = (
            a.right <= b.left or b.right <= a.left or a.top <= b.bottom or b.top <= a.bottom
        )
        assert apart
    level = [(left, right) for left, right in pairs(figure)]
    assert level
    assert all(rects[left].y == rects[right].y for left, right in level)


def test_data_goes_down_at_the_left_and_up_at_the_right(atlas):
    figure = draw(atlas, 2)
    rects = place(figure).boxes
    for arrow in figure.arrows:
        ends = (figure.boxes[arrow.source].column, figure.boxes[arrow.target].column)
        rise = rects[arrow.target].y - rects[arrow.source].y
        assert rise < 0 or ends != ("left", "left")
        assert rise > 0 or ends != ("right", "right")


def skip(source, target, count=1):
    return Arrow(source, target, "skip", (None,) * count)


def sides(left, right):
    boxes = [Box(i, "call", f"{i}", column="left") for i in range(left)]
    return (*boxes, *(Box(left + i, "call", f"{i}", column="right") for i in range(right)))


def figure_of(boxes, *skips):
    return Figure("", "", boxes, (), skips, (), 0)


def test_skips_that_do_not_cross_are_level():
    # Boxes 0..2 go down, 3..5 up: 0 and 5 are the outermost pair.
    figure = figure_of(sides(3, 3), skip(0, 5), skip(1, 4), skip(2, 3))
    assert pairs(figure) == [(0, 5), (1, 4), (2, 3)]


def test_of_crossing_skips_the_heavier_are_level():
    crossing = (skip(0, 2), skip(1, 3))
    assert len(pairs(figure_of(sides(2, 2), *crossing))) == 1
    heavy = figure_of(sides(2, 2), skip(0, 2), skip(1, 3, count=3))
    assert pairs(heavy) == [(1, 3)]


def test_shapes_that_repeat_are_counted():
    shape, other = ("B", 8, "H/2", None), ()
    assert shapes_text([shape, other, shape]) == "2 × (B×8×H/2×?)\nscalar"
    assert shapes_text([None]) == ""
