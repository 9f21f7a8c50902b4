"""``checkpoint PRESET CHANGES FOLDER``: a checkpoint as ``save_pretrained`` would write it.

Weights are the preset's seeded random ones. CHANGES is JSON: ``{}``, or a factor on what
makes a UNet large: ``{"depth": 4}`` or ``{"channels": 2}``.
"""

from __future__ import annotations

import json
import sys
from importlib import resources
from pathlib import Path
from typing import Any

from exporter.weights.random import RandomWeights
from exporter.weights.store import copy_weights
from exporter.weights.unet import build_from_config


def main(preset: str, changes: str, folder: str) -> None:
    """Writes ``config.json`` and fp32 safetensors into a new folder; prints its bytes."""
    file = resources.files("exporter") / "presets" / f"{preset}.json"
    config = changed(json.loads(file.read_text()), **json.loads(changes))
    target = Path(folder)
    target.mkdir(parents=True)
    (target / "config.json").write_text(json.dumps(config, indent=2))
    weights = RandomWeights(build_from_config(config["_class_name"], config))
    path = target / "diffusion_pytorch_model.safetensors"
    stored = copy_weights(weights, path, "fp32")
    sys.stdout.write(json.dumps({"bytes": stored.nbytes}) + "\n")


def changed(config: dict[str, Any], depth: int = 1, channels: int = 1) -> dict[str, Any]:
    """The config with so many times the transformer blocks a layer, and the channels."""
    blocks = config.get("transformer_layers_per_block", 1)
    deeper = [depth * one for one in blocks] if isinstance(blocks, list) else depth * blocks
    wider = [channels * width for width in config["block_out_channels"]]
    if depth > 1:
        config = {**config, "transformer_layers_per_block": deeper}
    return {**config, "block_out_channels": wider}


if __name__ == "__main__":
    main(*sys.argv[1:])
