"""diffusers' own pipeline, given the token ids and the noise that the file is given."""

from __future__ import annotations

import contextlib
import importlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from exporter.denoising.schedulers import load_scheduler
from exporter.errors import SourceError
from exporter.text_to_image.plan import PicturePlan
from exporter.torch_dtypes import TORCH_DTYPES


@dataclass(frozen=True)
class Ids:
    """Token ids of one encoder, (B, S) each.

    Attributes:
        positive: Of the prompts.
        negative: Of what is not wanted.
    """

    positive: torch.Tensor
    negative: torch.Tensor


class Tokens:
    """Stands in for a tokenizer: prompts are numbers of rows, and their ids are given.

    Args:
        ids: What it answers.
    """

    def __init__(self, ids: Ids) -> None:
        self._ids = ids
        self.model_max_length = ids.positive.shape[1]
        self.added_tokens_encoder: dict[str, int] = {}

    def tokenize(self, prompt: str) -> list[str]:
        """Asked by textual inversion, which there is none of."""
        return [prompt]

    def __call__(self, prompts: str | Sequence[str], **_: Any) -> Any:
        """Ids of ``+0``, ... from the prompts, of ``-0``, ... from the negative ones."""
        rows = [prompts] if isinstance(prompts, str) else list(prompts)
        return _Answer(torch.stack([self._row(text) for text in rows]))

    def _row(self, text: str) -> torch.Tensor:
        found = self._ids.positive if text[0] == "+" else self._ids.negative
        return found[int(text[1:])]


@dataclass(frozen=True)
class _Answer:
    input_ids: torch.Tensor


def load_pipeline(plan: PicturePlan, dtype: torch.dtype) -> Any:
    """The pipeline in a dtype, with the plan's scheduler and without tokenizers.

    Weights are first rounded to the file's dtype, as the file has them.

    Raises:
        SourceError: diffusers or transformers cannot load a part.
    """
    with _silenced():
        return _loaded(plan, dtype)


def _loaded(plan: PicturePlan, dtype: torch.dtype) -> Any:
    import diffusers
    import transformers

    layout = plan.layout
    loaded: dict[str, Any] = {}
    kinds = {part.name: (transformers, part.class_name) for part in layout.encoders}
    kinds |= {"unet": (diffusers, plan.source.class_name), "vae": (diffusers, "AutoencoderKL")}
    stored, variant = TORCH_DTYPES[plan.dtype], plan.request.variant
    weights = {"unet": plan.source.weights, **{p.name: p.weights for p in layout.parts}}
    files = {name: [file.name for file in one.files] for name, one in weights.items()}
    for name, (library, class_name) in kinds.items():
        try:
            model = getattr(library, class_name).from_pretrained(
                layout.folder / name,
                local_files_only=True,
                variant=variant if any(f".{variant}." in f for f in files[name]) else None,
                **(
                    {"dtype": stored}
                    if library is transformers
                    else {"torch_dtype": stored, "low_cpu_mem_usage": False}
                ),
            )
        except Exception as error:  # whatever its parts raise
            reason = " ".join(str(error).split())[:200]
            raise SourceError(f"{layout.folder / name} cannot be loaded: {reason}") from error
        loaded[name] = torch.nn.Module.to(model.eval(), dtype)
    tokenizers = {_tokenizer(part.name): None for part in layout.encoders}
    extra: dict[str, Any] = {"force_zeros_for_empty_prompt": layout.zeroed}
    if not layout.xl:
        extra = {"safety_checker": None, "feature_extractor": None}
        extra["requires_safety_checker"] = False
    else:
        extra["add_watermarker"] = False
    kind = getattr(diffusers, layout.kind)
    pipeline = kind(**loaded, **tokenizers, scheduler=_scheduler(plan), **extra)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def give_ids(pipeline: Any, plan: PicturePlan, ids: Sequence[Ids]) -> None:
    """From now on its tokenizers answer with these."""
    for part, own in zip(plan.layout.encoders, ids, strict=True):
        setattr(pipeline, _tokenizer(part.name), Tokens(own))


def _tokenizer(encoder: str) -> str:
    return encoder.replace("text_encoder", "tokenizer")


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Mutes progress bars and remarks on packages that nothing here needs."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _scheduler(plan: PicturePlan) -> Any:
    mine = plan.family.scheduler
    config = {k: v for k, v in mine.config.items() if not k.startswith("_")}
    name = type(mine).__name__
    return load_scheduler(name, 1, class_name=plan.source.class_name, config=config)


@contextlib.contextmanager
def drawing(scheduler: Any, noise: torch.Tensor) -> Iterator[None]:
    """Within it the scheduler draws ``noise``, (N, B, C, H, W), one row after another."""
    module: Any = importlib.import_module(type(scheduler).__module__)
    before = getattr(module, "randn_tensor", None)
    rows = iter(noise)
    module.randn_tensor = lambda *_, dtype=None, **__: next(rows).to(dtype)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of numpy's and torch's age
            yield
    finally:
        if before is None:
            del module.randn_tensor
        else:
            module.randn_tensor = before


def prompts(batch: int) -> dict[str, list[str]]:
    """What the pipeline is asked, for ``Tokens`` to answer."""
    return {
        "prompt": [f"+{i}" for i in range(batch)],
        "negative_prompt": [f"-{i}" for i in range(batch)],
    }
