"""Values that have broken programs before."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

NASTY = (
    "", " ", "²", "٣", "1" * 5000, "-1", "0", "1e999", "nan", "inf", "-inf", "0x10", "1.5",
    "a\nb", "\x1b[31m", "\x00", "%s", "../x", "/", "~", "\ud800", "[red]x[/]", "💥", "a" * 300,
    "null", "[]", "{}", "<script>", "'; --", "-", "--", "@file",
)  # fmt: skip

words = st.one_of(st.sampled_from(NASTY), st.text(max_size=12))
numbers = st.one_of(
    st.integers(-3, 70),
    st.integers(),
    st.sampled_from([2**31, 2**63, 2**64, -(2**63), 10**400]),
    st.floats(),
)
scalars = st.one_of(st.none(), st.booleans(), numbers, words)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(words, inner, max_size=4)
    ),
    max_leaves=8,
)


def deep(levels: int) -> str:
    """JSON nested so deeply that recursion ends badly."""
    return "[" * levels + "]" * levels


@st.composite
def mutated(draw: st.DrawFn, plain: Any, changes: int = 3) -> Any:
    """JSON with a few of its values, at any depth, replaced, renamed or taken away."""
    plain = json.loads(json.dumps(plain))
    for _ in range(draw(st.integers(1, changes))):
        places = list(_places(plain))
        if not places:
            break
        holder, key = draw(st.sampled_from(places))
        action = draw(st.sampled_from(["replace", "replace", "remove", "rename"]))
        if action == "replace" or isinstance(holder, list):
            holder[key] = draw(values)
        elif action == "remove":
            del holder[key]
        else:
            holder[draw(words)] = holder.pop(key)
    return plain


def _places(plain: Any) -> Any:
    keys: Sequence[Any] = ()
    if isinstance(plain, dict):
        keys = list(plain)
    elif isinstance(plain, list):
        keys = range(len(plain))
    for key in keys:
        yield plain, key
        yield from _places(plain[key])


@st.composite
def spoiled(draw: st.DrawFn, content: bytes) -> bytes:
    """Bytes cut, repeated, changed, or with others put in."""
    made = bytearray(content)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(made)))
        action = draw(st.sampled_from(["cut", "flip", "insert", "remove", "repeat"]))
        if action == "cut":
            del made[at:]
        elif action == "flip" and at < len(made):
            made[at] = draw(st.integers(0, 255))
        elif action == "insert":
            made[at:at] = draw(st.binary(max_size=20))
        elif action == "remove":
            del made[at : at + draw(st.integers(1, 30))]
        else:
            made[at:at] = made[at : at + draw(st.integers(1, 30))]
    return bytes(made)
