"""Classifier-free guidance as the pipelines do it: one batch of two halves, none up to 1."""

from __future__ import annotations

import numpy as np

from exporter.sampler import cite
from exporter.sampler.control import choose
from exporter.sampler.expr import FLOAT, INT64, Dim, Expr, concat, constant, op, record
from exporter.sampler.scope import about

ROWS = "R"
"""Symbol for the rows the UNet is given: B, or 2B under guidance."""


def pipeline(method: str, text: str) -> str:
    """Where the Stable Diffusion pipeline does it."""
    return cite.line(cite.PIPELINE, method, text)


def wanted(guidance_scale: Expr) -> Expr:
    """Whether there is guidance: the scale is above 1, as in the pipelines."""
    with about(pipeline("do_classifier_free_guidance", "guidance_scale > 1")):
        return (guidance_scale > 1.0).named("guided")


def both(guided: Expr, without: Expr, with_text: Expr) -> Expr:
    """``[without; with_text]`` under guidance, else ``with_text`` alone: (R, ...)."""
    rest = with_text.shape[1:]
    shape: tuple[Dim, ...] = (ROWS, *rest)
    with about(pipeline("__call__", "torch.cat([negative_prompt_embeds, prompt_embeds])")):
        return choose(
            guided,
            lambda: concat([without, with_text], 0, ("2B", *rest)),
            lambda: with_text,
            shape,
        )


def doubled(guided: Expr, sample: Expr) -> Expr:
    """One copy for each half: (R, ...)."""
    with about(pipeline("__call__", "latent_model_input = torch.cat")):
        rest = sample.shape[1:]
        return choose(
            guided,
            lambda: concat([sample, sample], 0, ("2B", *rest)),
            lambda: sample,
            (ROWS, *rest),
        )


def combined(guided: Expr, scale: Expr, rescale: Expr, prediction: Expr) -> Expr:
    """Both halves as one: away from the prediction without text.

    Args:
        guided: Whether there are two halves.
        scale: Guidance scale.
        rescale: ``guidance_rescale``; 0 leaves the result as it is.
        prediction: (R, C, H, W).

    Returns:
        (B, C, H, W).
    """
    shape: tuple[Dim, ...] = ("B", *prediction.shape[1:])

    def two() -> Expr:
        with about(pipeline("__call__", "noise_pred.chunk(2)")):
            node_outputs = _halves(prediction, shape)
        without, with_text = node_outputs
        with about(pipeline("__call__", "self.guidance_scale * (noise_pred_text")):
            guided_by = without + scale * (with_text - without)
        with about(pipeline("rescale_noise_cfg", "noise_pred_rescaled =")):
            return choose(
                rescale > 0.0,
                lambda: _rescaled(guided_by, with_text, rescale),
                lambda: guided_by,
                shape,
            )

    return choose(guided, two, lambda: prediction, shape)


def _halves(prediction: Expr, shape: tuple[Dim, ...]) -> list[Expr]:
    import onnx_ir as ir

    node = ir.node("Split", [prediction.value], {"num_outputs": 2}, num_outputs=2)
    without, with_text = record(node, [(prediction.dtype, shape)] * 2)
    return [without.named("noise_pred_uncond"), with_text.named("noise_pred_text")]


def _rescaled(guided_by: Expr, with_text: Expr, rescale: Expr) -> Expr:
    """Section 3.4 of https://arxiv.org/abs/2305.08891."""
    same = guided_by * (_std(with_text) / _std(guided_by))
    return rescale * same + (1.0 - rescale) * guided_by


def _std(x: Expr) -> Expr:
    """Standard deviation of each image, unbiased as ``torch.std``: (B, 1, 1, 1)."""
    axes = constant(np.array([1, 2, 3]), INT64, "axes")
    each: tuple[Dim, ...] = (x.shape[0], 1, 1, 1)
    distance = x - op("ReduceMean", x, axes, shape=each)
    total = op("ReduceSum", distance * distance, axes, shape=each)
    sizes = op("Gather", op("Shape", x, dtype=INT64, shape=(4,)), axes, shape=(3,))
    count = op("ReduceProd", sizes, attributes={"keepdims": 0}, shape=())
    return op("Sqrt", total / (count - 1).to(FLOAT))


def scale_embedding(scale: Expr, batch: Expr, size: int) -> Expr:
    """The guidance scale as a vector, for UNets that take it as an input (LCM): (B, size).

    Args:
        scale: Guidance scale.
        batch: Of shape (1,): the number of images.
        size: ``time_cond_proj_dim`` of the UNet.
    """
    with about(pipeline("get_guidance_scale_embedding", "emb = w")):
        half = size // 2
        step = np.log(np.float32(10000.0)) / np.float32(half - 1)
        rates = np.exp(np.arange(half, dtype=np.float32) * -step).astype(np.float32)
        angle = ((scale - 1.0) * 1000.0) * constant(rates, FLOAT, "frequencies")
        parts = [op("Sin", angle), op("Cos", angle)]
        if size % 2:
            parts.append(constant(np.zeros(1, np.float32), FLOAT, "padding"))
        vector = concat(parts, 0, (size,))
        last = constant(np.array([size]), INT64, "width")
        return op("Expand", vector, concat([batch, last], 0, (2,)), shape=("B", size))
