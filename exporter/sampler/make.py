"""One sampler from request to proven file; the stages as one visible list."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter import metadata as meta
from exporter.architecture import Run
from exporter.disk import replacing
from exporter.errors import ParityError
from exporter.files import validate
from exporter.publish import write
from exporter.sampler.embed import load, relink
from exporter.sampler.locate import locate
from exporter.sampler.loop import sampling_graph
from exporter.sampler.plan import SamplerPlan, SamplerRequest, make_plan
from exporter.sampler.proof import Drift, prove
from exporter.sampler.verdict import Proof, Report
from exporter.types import OnProgress, quiet


@dataclass(frozen=True, kw_only=True)
class SamplerReport(Report):
    """What was written.

    Attributes:
        looped: Nodes in the loop's body.
    """

    looped: int

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {**super().to_json(), "nodes": [self.nodes, self.looped]}


def make_sampler(request: SamplerRequest, on_progress: OnProgress = quiet) -> SamplerReport:
    """Plan, build, write, prove, place.

    Raises:
        AtlasError: Anything told in one line; the target is as it was before.
    """
    run = Run(on_progress)
    with run.stage("plan"):
        plan = make_plan(request)
    with run.stage("build"):
        model = sampling_graph(load(request.unet), plan.family, keep_steps=request.keep_steps)
        relink(model, request.target.absolute().parent)
        model.graph.doc_string = _doc(plan)
    proof = None
    with replacing(request.target) as temporary:
        with run.stage("write"):
            write(model, temporary, _facts(plan))
            validate(temporary)
        if request.check:
            with run.stage("prove"):
                proof = prove(temporary, plan, on_progress=on_progress)
                if not proof.passed:
                    raise _failed(temporary, plan, proof)
                write(model, temporary, {"sampler.parity": proof.to_metadata()})
        nbytes = temporary.stat().st_size
    loop = next(node for node in model.graph if node.op_type == "Loop")
    return SamplerReport(
        target=request.target,
        scheduler=type(plan.family.scheduler).__name__,
        nodes=model.graph.num_nodes(),
        looped=loop.attributes["body"].as_graph().num_nodes(),
        functions=len(model.functions),
        nbytes=nbytes,
        proof=proof,
        stages=tuple(run.records),
    )


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


def _failed(path: Path, plan: SamplerPlan, proof: Proof[Drift]) -> ParityError:
    worst = proof.worst
    where = locate(path, plan, worst.case)
    return ParityError(
        f"the sampler differs from diffusers at {worst.case.name} by {worst.ratio:.3g} noise "
        f"floors; {where}",
        do="the target is as it was",
    )
