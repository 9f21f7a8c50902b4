"""The commands of docs/FORMAT.md sign a file, and tell a changed one."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

FORMAT = (Path(__file__).parents[2] / "docs" / "FORMAT.md").read_text(encoding="utf-8")


@pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="needs ssh-keygen")
def test_the_commands_sign_and_tell(tmp_path: Path) -> None:
    section = FORMAT.partition("## Signing a file\n")[2]
    sign, check = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    (tmp_path / "unet.onnx").write_bytes(b"model")
    (tmp_path / "unet.safetensors").write_bytes(b"weights")

    def run(command: str) -> int:
        command = command.replace("~/.ssh/", "")
        done = subprocess.run(
            ["sh", "-c", command], cwd=tmp_path, capture_output=True, check=False
        )
        return done.returncode

    assert run("ssh-keygen -q -t ed25519 -N '' -f id_ed25519") == 0
    assert run(sign) == 0
    assert run(check) == 0
    assert run(check.replace("unet.onnx", "unet.safetensors")) == 0
    (tmp_path / "unet.onnx").write_bytes(b"another")
    assert run(check) != 0
