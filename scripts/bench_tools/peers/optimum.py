"""Optimum-ONNX: Hugging Face's exporter, over PyTorch's TorchScript one."""

from __future__ import annotations

import sys
from pathlib import Path

from bench_tools.environment import Environment
from bench_tools.peer import Job, Peer

ENVIRONMENT = Environment(
    "optimum",
    # It asks for transformers < 4.58, and so for a diffusers that takes huggingface_hub < 1.
    (
        "torch==2.13.0",
        "optimum-onnx==0.1.0",
        "transformers==4.57.6",
        "diffusers==0.36.0",
        "onnx==1.23.2",
        "onnxruntime==1.32.0",
        "accelerate",
    ),
    ("optimum-onnx", "torch", "transformers", "diffusers", "onnxruntime"),
    constrained=False,
)


MODULE = "bench_tools.peers.optimum"


def _validated(job: Job) -> list[str]:
    return job.python(MODULE, job.checkpoint, job.target, "validate")


def _unchecked(job: Job) -> list[str]:
    return job.python(MODULE, job.checkpoint, job.target)


VALIDATED = Peer("optimum", "Optimum-ONNX", _validated, environment=ENVIRONMENT)
UNCHECKED = Peer(
    "optimum-unchecked",
    "Optimum-ONNX, validation off",
    _unchecked,
    environment=ENVIRONMENT,
)


def main(checkpoint: str, target: str, *options: str) -> None:
    """What ``optimum-cli export onnx`` does to a pipeline's UNet, and to nothing else."""
    from diffusers import UNet2DConditionModel
    from optimum.exporters.onnx.convert import export_models, validate_models_outputs
    from optimum.exporters.onnx.model_configs import UNetOnnxConfig

    unet = UNet2DConditionModel.from_pretrained(checkpoint)
    folder, name = Path(target).parent, Path(target).name
    models = {"unet": (unet, UNetOnnxConfig(unet.config, task="semantic-segmentation"))}
    _, outputs = export_models(models, output_dir=folder, output_names=[name])
    if "validate" in options:  # in this process: its memory is then seen
        validate_models_outputs(
            models, outputs, folder, onnx_files_subpaths=[name], use_subprocess=False
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
