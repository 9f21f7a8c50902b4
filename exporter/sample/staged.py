"""Recording from a sampler's file: one call of ONNX Runtime for the whole loop."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import onnx_ir as ir
import torch

from exporter.denoising.loop import denoise
from exporter.runtime.memory import give_back
from exporter.runtime.session import Array, open_session
from exporter.sample.decode import Decoder
from exporter.sample.instrument import OUT, Instrumented
from exporter.sample.run import Evaluations, Run, largest_difference
from exporter.sampler.conditions import INPAINTING, PIPELINE_NAMES
from exporter.sampler.embed import load
from exporter.sampler.extract import unet_of
from exporter.types import Progress, StageRecord

LAST = "out_latents"


class StagedRun(Run):
    """As ``Run``, with the sampling stage of the file in place of the loop in Python.

    ``Loop`` gives no news before it ends: everything is written down after it, and the time of
    an evaluation is that of the whole over their number. What the scheduler takes for the
    finished image is not given out by the file.
    """

    def plain(self, edited: Instrumented | None = None) -> Evaluations:
        """Runs the file's UNet step by step, in diffusers' loop, unwatched."""
        path = self._plan.model.path
        unet = unet_of(load(path), path)
        session = open_session(
            ir.to_proto(unet).SerializeToString(), self._provider, weights_folder=path.parent
        )
        seen, start = Evaluations(session.provider), time.perf_counter()

        def predict(inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
            began = time.perf_counter()
            out = next(iter(session.run(inputs).values()))
            seen.seconds.append(time.perf_counter() - began)
            self._recording.put(OUT, len(seen.seconds) - 1, out)
            return torch.from_numpy(out)

        self._latents: list[Array] = []
        for step in denoise(self._plan.loop, predict):
            self._latents.append(step.latents[0].numpy().copy())
            self._recording.put("plain.seconds", step.index, seen.seconds[-1])
        self._tell("unwatched", start)
        return seen

    def watched(
        self, model: Instrumented, decoder: Decoder | None, *, compare: bool
    ) -> Evaluations:
        """Runs the instrumented copy once and writes every round down.

        Args:
            model: The copy.
            decoder: Makes previews, if there is a VAE.
            compare: Whether ``plain`` has run: then every round is compared, latents too.
        """
        start = time.perf_counter()
        session = open_session(
            model.content, self._provider, weights_folder=model.folder, in_order=True
        )
        began = time.perf_counter()
        told = session.run(self._feeds())
        del told[LAST]  # the latents after the last round, which step_latents has too
        each = (time.perf_counter() - began) / max(len(told["timesteps"]), 1)
        seen = Evaluations(session.provider, [each] * len(told["timesteps"]))
        del session
        give_back()
        put = self._recording.put
        put("latents", 0, self._plan.loop.first_latents()[0][0].numpy())
        for index, latents in enumerate(told["step_latents"]):
            outputs = {name: rounds[index] for name, rounds in told.items()}
            if compare:
                seen.differences.append(self._difference(index, outputs))
                put("plain.max_abs", index, seen.differences[-1])
            put("timestep", index, told["timesteps"][index].reshape(()))
            put("seconds", index, each)
            put("latents", index + 1, latents[0])
            put(OUT, index, outputs[OUT])
            self._measurements(model, outputs, index)
            if decoder is not None:
                put("preview", index, decoder(torch.from_numpy(latents)))
        self._grown(len(seen.seconds))
        self._tell("recording", start)
        return seen

    def _difference(self, index: int, outputs: Mapping[str, Array]) -> float:
        before = self._recording.get(OUT, index)
        return max(
            largest_difference(before, outputs[OUT]),
            largest_difference(self._latents[index], outputs["step_latents"][0]),
        )

    def _tell(self, stage: str, start: float) -> None:
        taken = time.perf_counter() - start
        self._on_progress(Progress(stage, record=StageRecord(stage, taken)))

    def _feeds(self) -> dict[str, torch.Tensor]:
        """The sampler's inputs, drawn as ``denoise`` draws them."""
        loop = self._plan.loop
        random = torch.Generator().manual_seed(loop.seed)
        latents = torch.randn(loop.shape, generator=random)
        noise = [torch.randn(loop.shape, generator=random) for _ in range(loop.evaluations)]
        found: dict[str, Any] = {
            "latents": latents,
            "noise": torch.stack(noise),
            "guidance_scale": torch.tensor(self._plan.guidance),
            "guidance_rescale": torch.tensor(0.0),
            "num_inference_steps": torch.tensor(loop.scheduler.num_inference_steps),
        }
        for name, value in loop.conditions.items():
            with_text, without = PIPELINE_NAMES.get(name, (name, None))
            found[with_text] = value[-1:]
            if without:
                found[without] = value[:1]
        if loop.extra is not None:
            sizes = [*INPAINTING.values()]
            parts = torch.split(loop.extra, sizes, dim=1)
            found |= dict(zip(INPAINTING, parts, strict=True))
        return found
