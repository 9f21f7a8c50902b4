"""Dotted module paths."""

import pytest

from exporter.paths import is_inside, leaf, parent, rebased, upwards


def test_parts_of_a_path():
    assert (parent("a.b.0"), leaf("a.b.0")) == ("a.b", "0")
    assert (parent("a"), leaf("a")) == ("", "a")
    assert list(upwards("a.b.0")) == ["a.b.0", "a.b", "a"]
    assert list(upwards("")) == []


@pytest.mark.parametrize(
    ("path", "outer", "inside"),
    [
        ("a.b", "a", True),
        ("a", "a", True),
        ("ab", "a", False),
        ("a", "", True),
        ("", "a", False),
    ],
)
def test_inside(path, outer, inside):
    assert is_inside(path, outer) is inside


def test_rebased():
    assert rebased("a.1.x", "a.1", "b.2") == "b.2.x"
    assert rebased("a.10.x", "a.1", "b.2") == "a.10.x"
