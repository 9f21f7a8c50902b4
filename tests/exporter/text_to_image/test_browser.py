"""The page in docs/browser paints in a browser what ONNX Runtime paints in Python."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from exporter.runtime.session import open_session
from tests.exporter.sample.tinysd import save_tokenizer

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "node_modules" / "onnxruntime-web"
NAME = "text-to-image"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path, picture: Any) -> Iterator[tuple[str, Path]]:
    """Address of a folder with page, model, tokenizer and onnxruntime-web."""
    if not (PACKAGE / "dist").is_dir():
        pytest.skip("no onnxruntime-web in node_modules: npm install")
    model, _ = picture("sd", NAME, weights="copy")
    for file in (*(ROOT / "docs" / "browser").iterdir(), model):
        shutil.copy(file, tmp_path)
    shutil.copy(model.with_suffix(".safetensors"), tmp_path)
    save_tokenizer(tmp_path)
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "onnxruntime-web").symlink_to(PACKAGE.resolve())
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", tmp_path / f"{NAME}.onnx"
    server.shutdown()
    server.server_close()


def test_the_page_paints(served: tuple[str, Path], eyes: Any) -> None:
    url, model = served
    page = eyes.open(url, wait="")
    page.get_by_text("Ready").wait_for(timeout=120_000)
    page.fill("#prompt", "cat red hat")
    page.fill("#steps", "2")
    page.click("button")
    page.get_by_text("Painted in").wait_for(timeout=120_000)
    made = page.evaluate(
        """() => ({
          image: [...made.image.data], dims: made.image.dims,
          latents: [...made.feeds.latents.data],
          ids: [...made.feeds.input_ids.data].map(Number),
        })"""
    )
    image = np.array(made["image"], np.float32).reshape(made["dims"])
    latents = torch.tensor(made["latents"]).reshape(1, 4, 12, 12)
    assert 0.8 < latents.std() < 1.2
    assert made["ids"][0] != made["ids"][1] != made["ids"][-1]
    negative = torch.full((1, 10), made["ids"][-1])
    negative[0, 0] = made["ids"][0]
    ours = open_session(model, "cpu").run(
        {
            "input_ids": torch.tensor([made["ids"]]),
            "negative_input_ids": negative,
            "latents": latents,
            "guidance_scale": torch.tensor(3.0),
            "guidance_rescale": torch.tensor(0.0),
            "num_inference_steps": torch.tensor(2),
        }
    )["image"]
    assert image.shape == ours.shape
    assert image.std() > 1e-3
    np.testing.assert_allclose(image, ours, atol=1e-4)
    page.fill("#prompt", "a dog")
    page.click("button")
    page.get_by_text("not a word of this model: dog").wait_for()
    assert eyes.hosts == {url.split("/")[2]}
    assert not eyes.complaints
