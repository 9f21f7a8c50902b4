"""Measures a pipeline of shapes and writes its model card."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import diffusers
import torch
import transformers

from shapes_tools.folder import SHIPPED
from shapes_tools.measure import measure
from shapes_tools.scenes import Scene, scenes
from shapes_tools.train import RECIPE

FIGURES = "figures.json"
_SEED = 2  # of the captions and of the noise: neither is training's


def main(arguments: list[str] | None = None) -> None:
    """Measures, writes figures.json, and says what was found."""
    parser = argparse.ArgumentParser(prog="scripts/measure-shapes", description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=SHIPPED)
    parser.add_argument("--captions", type=int, default=500)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    asked = captions(options.captions)
    pipeline, sampling = load(options.folder), json.loads(RECIPE.read_text())["sampling"]
    trained, masks = measure(pipeline, asked, **sampling, seed=_SEED, report=_say)
    untrained, _ = measure(
        _untrained(pipeline), asked, **sampling, seed=_SEED, targets=masks, report=_say
    )
    figures = {
        "sampling": sampling,
        "trained": trained.to_json(),
        "untrained": untrained.to_json()["pointing_game"],
    }
    text = json.dumps(figures, indent=2)
    (options.folder / FIGURES).write_text(text + "\n")
    print(text)  # noqa: T201


def captions(count: int) -> list[Scene]:
    """Scenes whose captions differ from one another and from all that training has seen."""
    found: dict[str, Scene] = {}
    for scene in scenes(_SEED, 4 * count, held_out=True):
        found.setdefault(scene.caption, scene)
    return list(found.values())[:count]


def load(folder: Path) -> Any:
    """A pipeline's parts, in float32."""
    options = {"low_cpu_mem_usage": False, "local_files_only": True}
    unet: Any = diffusers.UNet2DConditionModel.from_pretrained(folder / "unet", **options)
    vae: Any = diffusers.AutoencoderKL.from_pretrained(folder / "vae", **options)
    text: Any = transformers.CLIPTextModel.from_pretrained(folder / "text_encoder")
    return SimpleNamespace(
        unet=unet.float().eval(),
        vae=vae.float().eval(),
        text_encoder=text.float().eval(),
        tokenizer=transformers.CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        scheduler=diffusers.DDIMScheduler.from_pretrained(folder / "scheduler"),
    )


def _untrained(pipeline: Any) -> Any:
    """The same with random weights in UNet and text encoder."""
    torch.manual_seed(_SEED)
    unet: Any = diffusers.UNet2DConditionModel.from_config(pipeline.unet.config)
    text = transformers.CLIPTextModel(pipeline.text_encoder.config)
    parts = {**vars(pipeline), "unet": unet.eval(), "text_encoder": text.eval()}
    return SimpleNamespace(**parts)


def _say(done: int) -> None:
    print(f"{done} captions", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
