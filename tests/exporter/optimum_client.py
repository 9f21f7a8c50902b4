"""Run by the Python of an environment with Optimum-ONNX: ``make FOLDER``, then ``run FOLDER``.

``make`` saves a tiny random Stable Diffusion pipeline in ``pipeline/`` and Optimum's export of
it in ``optimum/``. ``run`` samples two steps with diffusers' own pipeline and with Optimum's
over ``optimum/`` and ``ours/``, and prints the largest difference between the images as JSON.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from optimum.onnxruntime import ORTStableDiffusionPipeline
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

WIDTH, TOKENS = 16, 77
SIZES = {"even": (64, 96), "odd": (72, 88)}
"""Height and width in pixels: a latent of 8 x 12, which halves, and one of 9 x 11."""


def make(root):
    torch.manual_seed(0)
    tokenizer = _tokenizer(root / "words")
    StableDiffusionPipeline(
        vae=AutoencoderKL(
            block_out_channels=(8, 8, 8, 8),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            norm_num_groups=4,
        ),
        text_encoder=CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(tokenizer),
                hidden_size=WIDTH,
                intermediate_size=32,
                num_hidden_layers=2,
                num_attention_heads=2,
                max_position_embeddings=TOKENS,
            )
        ),
        tokenizer=tokenizer,
        unet=UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(16, 32),
            layers_per_block=1,
            cross_attention_dim=WIDTH,
            attention_head_dim=2,
            norm_num_groups=4,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        ),
        scheduler=DDIMScheduler(
            beta_schedule="scaled_linear", clip_sample=False, steps_offset=1
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(root / "pipeline")
    exported = ORTStableDiffusionPipeline.from_pretrained(
        str(root / "pipeline"), export=True, provider="CPUExecutionProvider"
    )
    exported.save_pretrained(root / "optimum")


def run(root):
    eager = StableDiffusionPipeline.from_pretrained(root / "pipeline")
    clients = {
        name: ORTStableDiffusionPipeline.from_pretrained(
            str(root / name), provider="CPUExecutionProvider"
        )
        for name in ("optimum", "ours")
    }
    found = {}
    for size, (height, width) in SIZES.items():
        wanted = _images(eager, height, width)
        found[size] = {"spread": float(wanted.std())}
        for name, pipe in clients.items():
            found[size][name] = _difference(pipe, wanted, height, width)
    sys.stdout.write(json.dumps(found) + "\n")


def _difference(pipe, wanted, height, width):
    """None where the client's own graph refuses the size."""
    try:
        images = _images(pipe, height, width)
    except Exception as error:
        sys.stderr.write(f"{height}x{width}: {error}\n")
        return None
    return float(np.abs(images - wanted).max())


def _images(pipe, height, width):
    """Guidance, so batch 4."""
    pipe.set_progress_bar_config(disable=True)
    shape = (2, 4, height // 8, width // 8)
    latents = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    return pipe(
        ["a cat", "two dogs"],
        height=height,
        width=width,
        num_inference_steps=2,
        latents=torch.from_numpy(latents),
        output_type="np",
    ).images


def _tokenizer(folder):
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{c}</w>" for c in letters)]
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps({w: i for i, w in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    files = (str(folder / "vocab.json"), str(folder / "merges.txt"))
    return CLIPTokenizer(*files, model_max_length=TOKENS)


if __name__ == "__main__":
    {"make": make, "run": run}[sys.argv[1]](Path(sys.argv[2]))
