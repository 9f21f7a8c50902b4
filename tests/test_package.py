"""What ``pip install .`` installs, used from a folder that knows nothing of the repository."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("exporter", "viewer")
SOURCES = (*PACKAGES, "unet_atlas.py", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from the tree's own files alone: nothing that an earlier build has left."""
    tree, target = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tree)
    how = ("--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir")
    _run(sys.executable, "-m", "pip", "wheel", *how, target, tree, cwd=tree)
    (made,) = target.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def commands(wheel, tmp_path_factory):
    """Folder of the commands of a new environment; dependencies are this environment's."""
    root = tmp_path_factory.mktemp("clean") / "venv"
    _run(sys.executable, "-m", "venv", "--without-pip", root)
    python = root / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps")
    _run(*pip, wheel)
    # A .pth beneath the folder that it names is not read: our editable install stays outside.
    (known,) = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site,) = root.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(f"{known}\n")
    return root / "bin"


def _run(*command, **how):
    how.setdefault("cwd", ROOT)
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, **how
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_has_every_file_of_the_packages(wheel):
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    tree = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packed == {*tree, "unet_atlas.py"}


def test_the_command_works_from_anywhere(commands, tmp_path):
    code = "import exporter; print(exporter.__file__)"
    where = _run(commands / "python", "-c", code, cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(commands.parent)
    command = commands / "unet-atlas"
    _run(command, "export", "unet.onnx", "--model", "tiny", "--no-check", cwd=tmp_path)
    _run(command, "view", "unet.onnx", "--html", "unet.html", cwd=tmp_path)
    assert "mid_block" in (tmp_path / "unet.html").read_text()
    for name in ("parity", "sample", "replay"):
        assert _run(command, name, "-h", cwd=tmp_path).startswith("usage:")
