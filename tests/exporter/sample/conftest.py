"""Tiny exported UNets and a whole tiny random pipeline, made on the spot."""

from __future__ import annotations

import string
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
import transformers

from exporter.pipeline import export
from exporter.types import ExportRequest

WORDS = ("cat", "red", "hat")
TOKENS = 10
XL_WIDTH, XL_POOLED = 64, 32  # of the preset tiny-xl
Exported = Callable[..., Path]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """``exported(model, **request)``: an .onnx, made once for every set of arguments."""
    made: dict[tuple[Any, ...], Path] = {}

    def make(model: str, **request: Any) -> Path:
        key = (model, *sorted(request.items()))
        if key not in made:
            target = tmp_path_factory.mktemp("exported") / "unet.onnx"
            wanted = {"weights": "copy", "check": False, **request}
            export(ExportRequest(target, model=model, **wanted))
            made[key] = target
        return made[key]

    return make


@pytest.fixture(scope="session")
def folded(exported: Exported, whole_pipeline: Path) -> Path:
    """A tiny UNet like SD 1.5's as we write it; do not change it."""
    return exported(str(whole_pipeline))


def save_tokenizer(folder: Path) -> None:
    """CLIP's tokenizer with three words and the letters."""
    letters = [*string.ascii_lowercase, *(f"{c}</w>" for c in string.ascii_lowercase)]
    pairs = [
        pair for word in WORDS for pair in ((word[0], word[1]), (word[:2], f"{word[2]}</w>"))
    ]
    merged = ["".join(pair) for pair in pairs]
    names = [*letters, *merged, "<|startoftext|>", "<|endoftext|>"]
    vocab = {name: index for index, name in enumerate(dict.fromkeys(names))}
    transformers.CLIPTokenizer(
        vocab=vocab, merges=pairs, model_max_length=TOKENS
    ).save_pretrained(folder)


def save_text_encoder(folder: Path, width: int, *, projected: int | None = None) -> None:
    """CLIP's text model with two random layers."""
    torch.manual_seed(1)
    config = transformers.CLIPTextConfig(
        vocab_size=80,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=TOKENS,
        projection_dim=projected or width,
        bos_token_id=0,
        eos_token_id=1,
    )
    kind = (
        transformers.CLIPTextModelWithProjection if projected else transformers.CLIPTextModel
    )
    kind(config).save_pretrained(folder)


def save_vae(folder: Path) -> None:
    """An autoencoder that doubles twice instead of three times."""
    torch.manual_seed(2)
    vae: Any = diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(8, 8, 8),
        latent_channels=4,
        norm_num_groups=4,
    )
    vae.save_pretrained(folder)


@pytest.fixture(scope="session")
def whole_pipeline(tmp_path_factory: pytest.TempPathFactory, save_unet: Any) -> Path:
    """A tiny Stable Diffusion: text encoder, tokenizer, UNet, scheduler and VAE, random."""
    root = tmp_path_factory.mktemp("whole") / "tiny-sd"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside the libraries that save
        save_unet(root / "unet")
        save_tokenizer(root / "tokenizer")
        save_text_encoder(root / "text_encoder", 48)
        save_vae(root / "vae")
        diffusers.EulerDiscreteScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1
        ).save_pretrained(root / "scheduler")
    return root


@pytest.fixture(scope="session")
def whole_xl_pipeline(tmp_path_factory: pytest.TempPathFactory, save_unet: Any) -> Path:
    """A tiny SDXL's text side and UNet: two encoders, the second with a projection."""
    root = tmp_path_factory.mktemp("whole-xl") / "tiny-xl"
    save_unet(root / "unet", "tiny-xl")
    for suffix in ("", "_2"):
        save_tokenizer(root / f"tokenizer{suffix}")
    save_text_encoder(root / "text_encoder", 32)
    save_text_encoder(root / "text_encoder_2", XL_WIDTH - 32, projected=XL_POOLED)
    return root
