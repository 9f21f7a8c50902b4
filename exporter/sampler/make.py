"""One sampler from request to proven file; the stages as one visible list."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from exporter import metadata as meta
from exporter.disk import replacing
from exporter.errors import ParityError
from exporter.files import validate
from exporter.publish import write
from exporter.sampler.embed import load, relink
from exporter.sampler.locate import locate
from exporter.sampler.loop import sampling_graph
from exporter.sampler.plan import SamplerPlan, SamplerRequest, make_plan
from exporter.sampler.proof import SamplerProof, prove
from exporter.types import OnProgress, Progress, StageRecord, quiet


@dataclass(frozen=True)
class SamplerReport:
    """What was written.

    Attributes:
        target: The file.
        scheduler: diffusers' class.
        nodes: At top level and in the loop's body.
        functions: Local functions, the UNet's own included.
        nbytes: Size of the file.
        proof: The check; None when it was skipped.
        stages: Time of each.
    """

    target: Path
    scheduler: str
    nodes: tuple[int, int]
    functions: int
    nbytes: int
    proof: SamplerProof | None
    stages: tuple[StageRecord, ...]

    @property
    def seconds(self) -> float:
        """Wall time in all."""
        return sum(stage.seconds for stage in self.stages)

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {
            "target": str(self.target),
            "scheduler": self.scheduler,
            "nodes": list(self.nodes),
            "functions": self.functions,
            "bytes": self.nbytes,
            "parity": self.proof.to_metadata() if self.proof else None,
            "stages": [asdict(stage) for stage in self.stages],
        }


def make_sampler(request: SamplerRequest, on_progress: OnProgress = quiet) -> SamplerReport:
    """Plan, build, write, prove, place.

    Raises:
        AtlasError: Anything told in one line; the target is as it was before.
    """
    clock = _Clock(on_progress)
    plan = make_plan(request)
    clock("plan")
    model = sampling_graph(load(request.unet), plan.family, keep_steps=request.keep_steps)
    relink(model, request.target.absolute().parent)
    model.graph.doc_string = _doc(plan)
    clock("build")
    proof = None
    with replacing(request.target) as temporary:
        write(model, temporary, _facts(plan))
        validate(temporary)
        clock("write")
        if request.check:
            proof = prove(temporary, plan, on_progress=on_progress)
            if not proof.passed:
                raise _failed(temporary, plan, proof)
            write(model, temporary, {"sampler.parity": proof.to_metadata()})
            clock("prove")
        nbytes = temporary.stat().st_size
    loop = next(node for node in model.graph if node.op_type == "Loop")
    return SamplerReport(
        target=request.target,
        scheduler=type(plan.family.scheduler).__name__,
        nodes=(model.graph.num_nodes(), loop.attributes["body"].as_graph().num_nodes()),
        functions=len(model.functions),
        nbytes=nbytes,
        proof=proof,
        stages=tuple(clock.records),
    )


class _Clock:
    def __init__(self, on_progress: OnProgress) -> None:
        self._tell, self._last = on_progress, time.perf_counter()
        self.records: list[StageRecord] = []

    def __call__(self, stage: str) -> None:
        now = time.perf_counter()
        self.records.append(StageRecord(stage, now - self._last))
        self._last = now
        self._tell(Progress(stage, record=self.records[-1]))


def _facts(plan: SamplerPlan) -> dict[str, Any]:
    """What the file says about itself beyond what the UNet's does; docs/FORMAT.md."""
    config = {k: v for k, v in plan.family.config.items() if not k.startswith("_")}
    name = type(plan.family.scheduler).__name__
    return {
        "format": meta.FORMAT_VERSION,
        "sampler": {"scheduler": name, "config": config, "unet": plan.request.unet.name},
        "sampler.parity": {"verdict": "skipped"},
        "legend": meta.legend(meta.ROLES, meta.SAMPLER_ROLES),
    }


def _doc(plan: SamplerPlan) -> str:
    name = type(plan.family.scheduler).__name__
    return (
        f"The sampling stage: `num_inference_steps` rounds of `Loop`, each with the UNet once "
        f"and one step of `{name}`.\n\n{plan.family.formula}\n\n"
        "docs/SAMPLING.md explains every part."
    )


def _failed(path: Path, plan: SamplerPlan, proof: SamplerProof) -> ParityError:
    worst = proof.worst
    where = locate(path, plan, worst.case)
    return ParityError(
        f"the sampler differs from diffusers at {worst.case.name} by {worst.ratio:.3g} noise "
        f"floors; {where}",
        do="the target is as it was",
    )
