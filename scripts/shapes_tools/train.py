"""Trains the shipped model by its recipe, into a pipeline's folder; resumes."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import diffusers
import numpy as np
import torch
from PIL import Image

from shapes_tools.autoencoder import Report, sharpen, train_autoencoder
from shapes_tools.captions import teach_captions
from shapes_tools.data import Pool, make_pool
from shapes_tools.denoiser import Training, sample
from shapes_tools.folder import SHIPPED, save_pipeline
from shapes_tools.reconstruction import reconstruct
from shapes_tools.rule import judge
from shapes_tools.scenes import Scene, scenes
from shapes_tools.text import encode, make_tokenizer

RECIPE = Path(__file__).with_name("recipe.json")
_SAVED_EVERY = 250  # steps
_SHOWN_EVERY = 1000  # steps
_SHOWN = 64  # captions
_RECONSTRUCTED = 500  # scenes


def main(arguments: list[str] | None = None) -> None:
    """Trains what is not trained yet and writes the pipeline."""
    parser = argparse.ArgumentParser(prog="scripts/train-shapes", description=__doc__)
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    parser.add_argument("--work", type=Path, default=Path("runs/shapes"), help="for resuming")
    parser.add_argument("--out", type=Path, default=Path("runs/shapes/pipeline"))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--autoencoder",
        action="store_true",
        help="train the autoencoder alone, and compare it with the shipped one",
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    recipe = json.loads(options.recipe.read_text())
    options.work.mkdir(parents=True, exist_ok=True)
    if options.autoencoder:
        _compare(recipe, options.work)
    else:
        _everything(recipe, options.work, options.out)


def _everything(recipe: dict[str, Any], work: Path, out: Path) -> None:
    tokenizer = make_tokenizer()
    scheduler = diffusers.DDIMScheduler(**recipe["scheduler"])
    vae = _autoencoder(recipe, work / "vae")
    pool = _pool(recipe, vae, tokenizer, work / "pool.pt")
    training = Training(recipe["denoiser"], tokenizer, scheduler, recipe["seed"])
    pipeline = SimpleNamespace(
        unet=training.averaged["unet"],
        text_encoder=training.averaged["text"],
        tokenizer=tokenizer,
        vae=vae,
        scheduler=scheduler,
    )
    _train(training, pool, pipeline, recipe, work)
    pipeline.vae = _sharpened(recipe, work)
    save_pipeline(pipeline, out)
    _say(f"written: {out}")


def _autoencoder(recipe: dict[str, Any], folder: Path) -> Any:
    if not (folder / "config.json").is_file():
        vae = train_autoencoder(
            recipe["autoencoder"], recipe["seed"], _reporter("autoencoder")
        )
        vae.save_pretrained(folder)
    return _load_vae(folder)


def _compare(recipe: dict[str, Any], work: Path) -> None:
    """The recipe's autoencoder and the shipped one, on scenes that neither has seen."""
    _autoencoder(recipe, work / "vae")
    shown = scenes(recipe["seed"] + 2, _RECONSTRUCTED, held_out=True)
    for name, vae in (("recipe", _sharpened(recipe, work)), ("shipped", _shipped())):
        _say(f"{name}: {reconstruct(vae, shown)}")


def _shipped() -> Any:
    return _load_vae(SHIPPED / "vae").float()


def _sharpened(recipe: dict[str, Any], work: Path) -> Any:
    """The autoencoder with its decoder trained on; the UNet never sees a decoder."""
    folder = work / "vae-sharp"
    if not (folder / "config.json").is_file():
        vae = _load_vae(work / "vae")
        sharpen(vae, recipe["autoencoder"], recipe["seed"] + 1, _reporter("decoder"))
        vae.save_pretrained(folder)
    return _load_vae(folder)


def _reporter(what: str) -> Report:
    start = time.perf_counter()

    def report(step: int, loss: float) -> None:
        if step % 50 == 0:
            _say(f"{what} {step} loss {loss:.4f} {time.perf_counter() - start:.0f} s")

    return report


def _load_vae(folder: Path) -> Any:
    vae: Any = diffusers.AutoencoderKL.from_pretrained(folder, low_cpu_mem_usage=False)
    return vae.eval().requires_grad_(False)


def _pool(recipe: dict[str, Any], vae: Any, tokenizer: Any, file: Path) -> Pool:
    if not file.is_file():
        chosen = scenes(recipe["seed"], recipe["scenes"], held_out=False)

        def report(done: int) -> None:
            if done % 2048 == 0:
                _say(f"encoded {done} of {len(chosen)} scenes")

        torch.save(vars(make_pool(chosen, vae, tokenizer, report)), file)
    return Pool(**torch.load(file, weights_only=True))


def _train(
    training: Training, pool: Pool, pipeline: Any, recipe: dict[str, Any], work: Path
) -> None:
    checkpoint = work / "denoiser.pt"
    if checkpoint.is_file():
        training.restore(checkpoint)
        _say(f"resumed at step {training.step}")
    else:
        text, lesson = training.model["text"], recipe["captions"]
        end = training.tokenizer.eos_token_id
        teach_captions(text, pool, end, lesson, recipe["seed"], _reporter("captions"))
        training.averaged["text"].load_state_dict(text.state_dict())
    empty = encode(training.tokenizer, [""])[0]
    shown = scenes(recipe["seed"] + 1, _SHOWN, held_out=True)
    start, first = time.perf_counter(), training.step
    losses: list[tuple[float, float]] = []
    while training.step < training.recipe["steps"]:
        losses.append(training.learn(pool, empty))
        if training.step % 50 == 0:
            noise, attention = np.mean(losses, axis=0)
            pace = (time.perf_counter() - start) / (training.step - first)
            losses_told = f"noise {noise:.4f} maps {attention:.3f}"
            _say(f"step {training.step} {losses_told} {pace:.3f} s/step")
            losses.clear()
        if training.step % _SAVED_EVERY == 0:
            training.save(checkpoint)
        if training.step % _SHOWN_EVERY == 0:
            file = work / f"samples-{training.step:05}.png"
            _show(pipeline, shown, recipe["sampling"], file)


def _show(pipeline: Any, shown: list[Scene], sampling: dict[str, Any], file: Path) -> None:
    """A picture of what it paints, and how many of the captions it obeys."""
    captions = [scene.caption for scene in shown]
    images = sample(pipeline, captions, **sampling, seed=1).numpy()
    verdicts = [judge(scene, image) for scene, image in zip(shown, images, strict=True)]
    names = ("right", "colours", "shapes", "relation", "background")
    parts = [f"{name} {sum(getattr(v, name) for v in verdicts)}" for name in names]
    _say(f"of {len(shown)} held-out captions: {', '.join(parts)}")
    rows = [np.concatenate(images[start : start + 8], 1) for start in range(0, len(images), 8)]
    Image.fromarray(np.concatenate(rows)).resize((768, 768), Image.Resampling.NEAREST).save(
        file
    )


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
