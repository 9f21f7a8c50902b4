"""Any command line: options that exist with values that make no sense, in any number."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import exporter.annotate.cli
import exporter.cli
import exporter.parity.cli
import exporter.profile.cli
import exporter.sample.cli
import unet_atlas
import viewer.cli
import viewer.replay.cli
from exporter.terminal import Number
from tests.fuzz.harness import hold
from tests.fuzz.strategies import words as any_words
from viewer.terminal import Whole

MODULES = (
    exporter.annotate.cli,
    exporter.cli,
    exporter.parity.cli,
    exporter.profile.cli,
    exporter.sample.cli,
    viewer.cli,
    viewer.replay.cli,
)
words = any_words.map(lambda word: word.replace("\0", "").encode("utf-8", "replace").decode())
"""What a shell can hand on."""

PLACES = (
    "unet.onnx", "run.safetensors", "report.json", "pipeline", "folder",
    "missing/x.onnx", "missing.onnx", "pipeline/unet/config.json", "tiny", ".",
)  # fmt: skip
OUTPUTS = ("new.html", "new.json", "new", "new.onnx", "new.safetensors", "folder", "missing/x")
SPECIAL = {"--host": "127.0.0.1", "--autograd": None}
"""Options that must not be given just anything: no name is looked up in the network."""


def _written(action: argparse.Action) -> bool:
    """Whether an option names what is to be written."""
    told = (action.help or "") + str(action.metavar)
    return action.dest in (
        "output", "html", "png", "svg", "graphviz", "tensorboard", "model_explorer", "report",
        "junit", "markdown", "plot", "reduce", "annotations",
    ) and "to tint" not in told  # fmt: skip


@st.composite
def lines(draw: st.DrawFn, parser: argparse.ArgumentParser) -> list[str]:
    chosen = [*(a for a in parser._actions if not a.option_strings)]
    options = [
        a for a in parser._actions if a.option_strings and a.dest not in ("help", "debug")
    ]
    chosen += draw(st.lists(st.sampled_from(options), max_size=5))
    made: list[str] = []
    for action in draw(st.permutations(chosen)):
        value = st.one_of(st.sampled_from(OUTPUTS if _written(action) else PLACES), words)
        if action.choices:
            value = st.one_of(st.sampled_from(sorted(map(str, action.choices))), words)
        if action.type in (int, float) or isinstance(action.type, Number | Whole):
            value = st.one_of(st.integers(-2, 40).map(str), words)
        if action.option_strings:
            made.append(draw(st.sampled_from(action.option_strings)))
            if action.option_strings[-1] in SPECIAL:
                made += filter(None, [SPECIAL[action.option_strings[-1]]])
                continue
        elif draw(st.integers(0, 9)) == 0:
            continue
        if action.nargs != 0:
            text = draw(value)
            # Written below the folder or nowhere: a fuzzer must not write about on a disk.
            made.append(text if not _written(action) else text.replace("/", "_").strip("."))
    return made


@pytest.mark.parametrize("module", MODULES, ids=lambda one: one.__name__)
def test_any_command_line(module, fresh: Callable[..., Path]) -> None:
    parser = getattr(module, "command_line", None) or module._parser

    @given(lines(parser()))
    def holds(arguments: list[str]) -> None:
        folder = fresh()
        hold(module.main, arguments, folder, None)

    holds()


@given(st.lists(words, max_size=3))
def test_any_command(fresh, arguments) -> None:
    hold(unet_atlas.main, arguments, fresh("report"))
