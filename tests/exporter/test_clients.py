"""Programs that people run: our UNet in the place of theirs, in an unchanged pipeline."""

import contextlib
import json

import diffusers
import numpy as np
import onnx
import pytest
import torch
from diffusers import OnnxRuntimeModel, OnnxStableDiffusionPipeline
from onnx import numpy_helper
from transformers import CLIPTokenizer

from exporter.parity.precision import ComputeIn
from exporter.parity.trajectory import DRIFT

pytestmark = pytest.mark.filterwarnings(  # the client says that it will go
    "ignore:Please use Optimum:FutureWarning",
    "ignore:.*deprecated:FutureWarning",
    "ignore:__array__ implementation:DeprecationWarning",
)

TOKENS, WIDTH = 77, 16


def _write(folder, text, **weights):
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 21]> {text}')
    for name, array in weights.items():
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    folder.mkdir()
    onnx.save(model, folder / "model.onnx")


def _write_tokenizer(folder):
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{c}</w>" for c in letters)]
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps({w: i for i, w in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    files = (str(folder / "vocab.json"), str(folder / "merges.txt"))
    CLIPTokenizer(*files, model_max_length=TOKENS).save_pretrained(folder)
    return len(words)


@pytest.fixture(scope="module")
def pipeline(workshop, tmp_path_factory):
    """A diffusers ONNX pipeline on disk whose ``unet/`` was written by us."""
    root = tmp_path_factory.mktemp("client") / "pipeline"
    root.mkdir()
    random = np.random.default_rng(0)

    def draw(*shape):
        return random.standard_normal(shape).astype(np.float32)

    table = draw(_write_tokenizer(root / "tokenizer"), WIDTH)
    _write(
        root / "text_encoder",
        "g (int32[B,S] input_ids) => (float[B,S,16] last_hidden_state) "
        "{ last_hidden_state = Gather(table, input_ids) }",
        table=table,
    )
    _write(
        root / "vae_decoder",
        "g (float[B,4,H,W] latent_sample) => (float[B,3,X,Y] sample) "
        '{ c = Conv(latent_sample, w)\n t = Tanh(c)\n sample = Resize(t, "", scales) }',
        w=draw(3, 4, 1, 1),
        scales=np.array([1, 1, 8, 8], dtype=np.float32),
    )
    _write(root / "vae_encoder", "g (float[B] x) => (float[B] y) { y = Neg(x) }")
    diffusers.DDIMScheduler(
        beta_schedule="scaled_linear", clip_sample=False, steps_offset=1
    ).save_pretrained(root / "scheduler")
    (root / "unet").mkdir()
    workshop.export(root / "unet" / "model.onnx", workshop.pipeline("micro"), check=False)
    parts = ("text_encoder", "unet", "vae_decoder", "vae_encoder")
    index = {
        "_class_name": "OnnxStableDiffusionPipeline",
        **{part: ["diffusers", "OnnxRuntimeModel"] for part in parts},
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "safety_checker": [None, None],
        "feature_extractor": [None, None],
        "requires_safety_checker": False,
    }
    (root / "model_index.json").write_text(json.dumps(index))
    return root


class _Eager(OnnxRuntimeModel):
    """PyTorch behind the interface of the ONNX client, perhaps in a higher precision."""

    def __init__(self, folder, model, mode=None):
        super().__init__(model)
        self.unet = diffusers.UNet2DConditionModel.from_pretrained(folder).eval()
        self.mode = mode or contextlib.nullcontext()

    def __call__(self, **inputs):
        with torch.inference_mode(), self.mode:
            tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
            output = self.unet(**tensors, return_dict=False)[0]
            return [output.numpy().astype(np.float32)]


def _load(folder):
    pipe = OnnxStableDiffusionPipeline.from_pretrained(
        folder, provider="CPUExecutionProvider", safety_checker=None
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _images(pipe, **wishes):
    wishes = {"height": 72, "width": 88, "num_inference_steps": 4, **wishes}
    random = np.random.RandomState(0)
    return pipe(["a cat", "two dogs"], generator=random, output_type="np", **wishes).images


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers'
@pytest.mark.parametrize(
    "scheduler", ["DDIMScheduler", "PNDMScheduler", "DPMSolverMultistepScheduler"]
)
def test_onnx_stable_diffusion_pipeline(pipeline, workshop, scheduler, floors):
    """Guidance, so batch 4; an odd latent of 9 x 11.

    Steps amplify rounding, each machine's its own: ours may be as far from float64 as PyTorch.
    """
    pipe = _load(pipeline)
    kind = getattr(diffusers, scheduler)
    pipe.scheduler = kind.from_config(pipe.scheduler.config)
    ours = _images(pipe)
    folder, model = workshop.pipeline("micro") / "unet", pipe.unet.model
    pipe.unet = _Eager(folder, model)
    theirs = _images(pipe)
    pipe.unet = _Eager(folder, model, ComputeIn(torch.float64))
    truth = _images(pipe)
    assert ours.shape == (2, 72, 88, 3)
    assert ours.std() > 0.05
    floors.check(ours, theirs, truth, DRIFT)


def test_the_unet_is_really_asked(pipeline):
    """Another prompt and another guidance give other images."""
    pipe = _load(pipeline)
    images = _images(pipe)
    assert np.abs(images - _images(pipe, guidance_scale=1.0)).max() > 1e-3
    assert np.abs(images - _images(pipe, negative_prompt=["b", "c"])).max() > 1e-3


def test_onnx_runtime_model_alone(workshop):
    model = OnnxRuntimeModel.from_pretrained(
        workshop.exported("micro").parent,
        file_name="unet.onnx",
        provider="CPUExecutionProvider",
        provider_options=None,
    )
    inputs = {
        "sample": np.zeros((1, 4, 9, 8), np.float32),
        "timestep": np.array([3.5], np.float32),
        "encoder_hidden_states": np.zeros((1, TOKENS, WIDTH), np.float32),
    }
    (result,) = model(**inputs)
    assert result.shape == (1, 4, 9, 8)
    assert np.isfinite(result).all()
