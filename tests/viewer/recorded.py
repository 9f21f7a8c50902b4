"""A small recording of tests/viewer/tiny.py's UNet, written as docs/RECORDING.md says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

STEPS, ROWS, TOKENS = 6, 2, 7
BLOCKS = ("conv_in", "down_blocks.0.resnets.0", "down_blocks.0", "mid_block.resnets.0")
RESNETS = ("down_blocks.0.resnets.0", "mid_block.resnets.0", "up_blocks.0.resnets.0")
LAYERS = tuple(
    f"{place}.attentions.0.transformer_blocks.0.attn2"
    for place in ("down_blocks.0", "mid_block")
)
WORDS = ("<|startoftext|>", "a", "red", "cat", "<|endoftext|>", "<|endoftext|>", "x")


def tensors(seed: int = 0, heads: int = 0) -> dict[str, np.ndarray[Any, Any]]:
    random = np.random.default_rng(seed)

    def numbers(*shape: int) -> np.ndarray[Any, Any]:
        return random.random(shape, dtype=np.float32) + 0.1

    made = {
        "timestep": np.linspace(999, 1, STEPS, dtype=np.float32),
        "seconds": numbers(STEPS),
        "latents": random.standard_normal((STEPS + 1, 4, 8, 8)).astype(np.float32),
        "out_sample": numbers(STEPS, ROWS, 4, 8, 8),
        "temb": numbers(STEPS, ROWS, 16),
        "residual.branch": numbers(STEPS, ROWS, len(RESNETS)),
        "residual.trunk": numbers(STEPS, ROWS, len(RESNETS)),
        "injection.vector": numbers(STEPS, ROWS, len(RESNETS)),
        "injection.image": numbers(STEPS, ROWS, len(RESNETS)),
        "skip.skip": numbers(STEPS, ROWS, 4),
        "skip.trunk": numbers(STEPS, ROWS, 4),
        "attention.entropy": numbers(STEPS, ROWS, len(LAYERS)),
        "attention.map.0": numbers(STEPS, ROWS, TOKENS, 8, 8).astype(np.float16),
        "attention.map.1": numbers(STEPS, ROWS, TOKENS, 4, 4).astype(np.float16),
    }
    for name in ("mean", "rms", "std", "min", "max"):
        made[f"block.{name}"] = numbers(STEPS, ROWS, len(BLOCKS))
    if heads:
        made["attention.heads.0"] = numbers(STEPS, ROWS, heads, TOKENS, 8, 8)
        made["attention.map.0"] = made["attention.heads.0"].mean(axis=2).astype(np.float16)
    return made


def metadata() -> dict[str, Any]:
    return {
        "format": "1",
        "kind": "sampling",
        "model": {"name": "tiny", "class": "UNet2DConditionModel", "file": "tiny.onnx"},
        "run": {
            "scheduler": "ddim",
            "scheduler_class": "DDIMScheduler",
            "guidance": 7.5,
            "rows": ["uncond", "cond"],
            "seed": 0,
        },
        "prompt": {
            "source": "text_encoder",
            "note": "encoded by text_encoder",
            "text": ["", "a red cat"],
            "tokens": [list(WORDS), list(WORDS)],
        },
        "blocks": [{"module": name, "role": "resnet", "level": 0} for name in BLOCKS],
        "residuals": [{"module": name, "role": "resnet"} for name in RESNETS],
        "injections": [{"module": name, "op": "Add"} for name in RESNETS],
        "skips": [{"id": str(i), "source": "", "module": "up_blocks.0"} for i in range(4)],
        "attentions": [{"module": name, "level": i} for i, name in enumerate(LAYERS)],
    }


def write(path: Path, seed: int = 0, heads: int = 0, **changes: Any) -> Path:
    """Writes the recording with numbers of a seed; ``changes`` replace metadata."""
    texts = {
        f"atlas.recording.{key}": json.dumps(value)
        for key, value in {**metadata(), **changes}.items()
    }
    save_file(tensors(seed, heads), path, texts)
    return path
