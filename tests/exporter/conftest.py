"""Architectures small enough to export in seconds; each is traced once in a test run."""

import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx_ir as ir
import pytest
import torch

import exporter.architecture
import exporter.pipeline
import exporter.trace
from exporter.architecture import Graph, Run, architecture
from exporter.cli import main
from exporter.lower import lower
from exporter.report import ExportReport
from exporter.source import load_source
from exporter.torch_dtypes import TORCH_DTYPES
from exporter.trace import trace
from exporter.types import ExportRequest, OnProgress, Program, Source, quiet
from exporter.weights.unet import build_unet
from tests.exporter.listing import listing

TWO_LEVELS = {"block_out_channels": [16, 32], "norm_num_groups": 4, "attention_head_dim": 2}
MICRO = {
    **TWO_LEVELS,
    "cross_attention_dim": 16,
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
}
SIMPLE = {
    "down_block_types": ["SimpleCrossAttnDownBlock2D", "ResnetDownsampleBlock2D"],
    "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
    "up_block_types": ["ResnetUpsampleBlock2D", "SimpleCrossAttnUpBlock2D"],
}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "micro": MICRO,
    "wide": {**MICRO, "block_out_channels": [320, 16], "layers_per_block": 1},
    "tiny": {},
    "tiny-xl": {"preset": "tiny-xl"},
    "ddpm": {
        "preset": "ddpm",
        **TWO_LEVELS,
        "attention_head_dim": 8,
        "layers_per_block": 1,
        "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
        "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
    },
    "text-in-attn1": {
        **MICRO,
        "only_cross_attention": True,
        "use_linear_projection": True,
        "num_class_embeds": 10,
        "time_cond_proj_dim": 12,
    },
    "added-kv": {
        **MICRO,
        **SIMPLE,
        "resnet_time_scale_shift": "scale_shift",
        "encoder_hid_dim": 24,
        "encoder_hid_dim_type": "text_proj",
    },
    "resnet-steps": {
        **MICRO,
        "down_block_types": ["CrossAttnDownBlock2D", "ResnetDownsampleBlock2D"],
        "up_block_types": ["ResnetUpsampleBlock2D", "CrossAttnUpBlock2D"],
        "resnet_skip_time_act": True,
        "resnet_out_scale_factor": 1.5,
    },
    "skip-images": {
        "preset": "ddpm",
        **TWO_LEVELS,
        "block_out_channels": [32, 32],
        "attention_head_dim": 8,
        "layers_per_block": 1,
        "time_embedding_type": "fourier",
        "down_block_types": ["SkipDownBlock2D", "AttnSkipDownBlock2D"],
        "up_block_types": ["AttnSkipUpBlock2D", "SkipUpBlock2D"],
    },
    "dual": {**MICRO, "dual_cross_attention": True},
}


@dataclass(frozen=True)
class Workshop:
    """Saves architectures, and exports them with one trace each.

    Attributes:
        folder: Where they are saved, as pipelines: ``folder/micro/unet``.
        save: The ``save_unet`` fixture.
        programs: What was traced, by architecture without opset.
        graphs: What was built, by architecture.
    """

    folder: Path
    save: Callable[..., Path]
    programs: dict[Any, Program]
    graphs: dict[Any, Graph]

    def pipeline(self, name: str) -> Path:
        """Folder of one of ``ARCHITECTURES``; do not change it."""
        root = self.folder / name
        if not root.exists():
            self.save_as(root / "unet", name)
        return root

    def save_as(self, folder: Path, name: str, **how: Any) -> Path:
        """Saves one of ``ARCHITECTURES`` elsewhere, or in another way; see ``save_unet``."""
        return self.save(folder, **ARCHITECTURES[name], **how)

    def source(self, name: str) -> Source:
        return load_source(str(self.pipeline(name)))

    def program(
        self, name: str, dtype: torch.dtype = torch.float32, kept: tuple[str, ...] = ()
    ) -> Program:
        source = self.source(name)
        return self._trace(source, lambda: build_unet(source), dtype, kept)

    def lowered(self, name: str, opset: int = 24) -> Any:
        return lower(self.program(name), opset)

    def graph(self, name: str, opset: int = 24) -> Graph:
        """Clone its model before changing it."""
        return self._build(self.source(name), "fp32", opset, (), Run(quiet))

    def export(
        self, target: Path, model: str | Path, on_progress: OnProgress = quiet, **wishes: Any
    ) -> ExportReport:
        """``pipeline.export``, unchecked unless ``check=True`` is among the wishes."""
        request = ExportRequest(target, model=str(model), **{"check": False, **wishes})
        with self.remembering():
            return exporter.pipeline.export(request, on_progress)

    def exported(self, name: str) -> Path:
        """One of ``ARCHITECTURES`` written folded, linked and unchecked; do not change it."""
        target = self.pipeline(name) / "unet.onnx"
        if not target.exists():
            self.export(target, target.parent, weights="link")
        return target

    def main(self, *arguments: str | Path) -> int:
        """The command line, in this process."""
        with self.remembering():
            return main([str(argument) for argument in arguments])

    @contextmanager
    def remembering(self) -> Iterator[None]:
        """Within it the pipeline builds no architecture twice."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(exporter.pipeline, "build", self._build)
            yield

    def _build(self, source: Source, dtype: Any, opset: int, kept: Any, run: Run) -> Graph:
        key = architecture(source, dtype, opset, kept)
        if key in self.graphs:
            for stage in ("trace", "lower", "simplify", "annotate"):
                with run.stage(stage):
                    pass
            return self.graphs[key]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(exporter.trace, "trace", self._trace)
            self.graphs[key] = exporter.architecture.build(source, dtype, opset, kept, run)
        return self.graphs[key]

    def _trace(self, source: Source, build: Any, dtype: Any, kept: Any = ()) -> Program:
        name = next(name for name, known in TORCH_DTYPES.items() if known == dtype)
        key = architecture(source, name, 0, kept)
        if key not in self.programs:
            self.programs[key] = trace(source, build, dtype, kept)
        return self.programs[key]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Tiny tensors gain nothing from threads and lose much on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def parse() -> Callable[..., ir.Model]:
    """``parse(text, opset=24)``: ONNX text without its header to a model."""

    def parse(text: str, opset: int = 24) -> ir.Model:
        header = f'<ir_version: 10, opset_import: ["" : {opset}]>'
        return ir.from_onnx_text(header + text)

    return parse


@pytest.fixture(scope="session")
def folded(tmp_path_factory: pytest.TempPathFactory, tiny_pipeline: Path) -> Path:
    """A tiny UNet as we write it; do not change it."""
    target = tmp_path_factory.mktemp("folded") / "unet.onnx"
    request = ExportRequest(target, model=str(tiny_pipeline), weights="copy", check=False)
    exporter.pipeline.export(request)
    return target


@pytest.fixture(scope="session")
def workshop(
    tmp_path_factory: pytest.TempPathFactory, save_unet: Callable[..., Path]
) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("architectures"), save_unet, {}, {})


@pytest.fixture
def linked(workshop: Workshop, tmp_path: Path) -> Path:
    """A pipeline folder of its own for each test, to link into."""
    root = tmp_path / "pipeline"
    shutil.copytree(workshop.pipeline("micro"), root)
    return root


@pytest.fixture
def no_litter(tmp_path: Path) -> Iterator[None]:
    """Holds that the test left its folder as it was at the time of the request."""
    before = listing(tmp_path)
    yield
    assert listing(tmp_path) == before


class _Plain(torch.nn.Module):
    def __init__(self, unet: torch.nn.Module) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, sample: Any, timestep: Any, text: Any) -> Any:
        return self.unet(sample, timestep, text, return_dict=False)[0]


@pytest.fixture(scope="session")
def foreign(tmp_path_factory: pytest.TempPathFactory, make_unet: Any) -> Path:
    """The same UNet by torch's TorchScript exporter, as scripts all over write it."""
    target = tmp_path_factory.mktemp("foreign") / "model.onnx"
    example = torch.zeros(2, 4, 16, 16), torch.tensor([1], dtype=torch.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of every Python number it freezes
        torch.onnx.export(
            _Plain(make_unet()),
            (*example, torch.zeros(2, 7, 48)),
            str(target),
            dynamo=False,
            opset_version=17,
            input_names=["sample", "timestep", "encoder_hidden_states"],
            output_names=["out_sample"],
            dynamic_axes={
                "sample": {0: "batch", 2: "height", 3: "width"},
                "encoder_hidden_states": {0: "batch", 1: "sequence"},
            },
        )
    return target
