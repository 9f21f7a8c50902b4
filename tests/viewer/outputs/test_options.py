from __future__ import annotations

import pytest

from tests.viewer.outputs.hostile import needs_graphviz
from viewer.cli import main


def test_several_outputs_at_once_and_no_page(tiny, tmp_path, capsys):
    flags = ["--graphviz", f"{tmp_path}/u.dot", "--depth", "module"]
    flags += ["--model-explorer", f"{tmp_path}/u.json", "--tensorboard", f"{tmp_path}/runs"]
    assert main([str(tiny), *flags]) == 0
    said = capsys.readouterr().out
    assert said.count("wrote ") == 3
    assert (tmp_path / "u.dot").exists()
    assert (tmp_path / "u.json").exists()
    assert list((tmp_path / "runs" / "tiny").iterdir())


def test_what_the_file_does_not_say_is_said(stripped, tmp_path, capsys):
    target = tmp_path / "u.dot"
    assert main([str(stripped.file.path), "--graphviz", str(target)]) == 0
    assert "No atlas.role" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        (["--autograd"], "--module"),
        (["--module", "mid_block"], "--graphviz"),
        (["--graphviz", "u.dot", "--module", "mid_blok"], "mid_block"),
        (["--graphviz", "u.tiff"], ".svg"),
    ],
)
def test_flags_that_need_one_another(tiny, tmp_path, monkeypatch, capsys, flags, word):
    monkeypatch.chdir(tmp_path)
    assert main([str(tiny), *flags]) == 2
    error = capsys.readouterr().err
    assert word in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("depth", ["0", "-1", "deep"])
def test_a_depth_that_is_none(tiny, capsys, depth):
    with pytest.raises(SystemExit) as caught:
        main([str(tiny), "--graphviz", "u.dot", "--depth", depth])
    assert caught.value.code == 2
    assert "is no depth" in capsys.readouterr().err


def test_two_models_make_no_single_file(tiny, stripped, tmp_path, capsys):
    target = tmp_path / "u.dot"
    assert main([str(tiny), str(stripped.file.path), "--graphviz", str(target)]) == 2
    assert "one model" in capsys.readouterr().err
    assert not target.exists()


@needs_graphviz
def test_a_figure_is_written_from_the_command_line(tiny, tmp_path):
    target = tmp_path / "u.svg"
    assert main([str(tiny), "--graphviz", str(target)]) == 0
    assert b"<svg" in target.read_bytes()
