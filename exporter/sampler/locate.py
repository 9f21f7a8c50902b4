"""Which part of a sampler departs first: loop state, guidance, scheduler step, or UNet.

A copy of the file also gives out what goes into and comes out of each part on every step. Each
part is then asked alone, with what the graph itself gave it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import torch

from exporter.denoising.schedulers import advance
from exporter.parity.metrics import compare
from exporter.runtime.session import Array, open_session
from exporter.sampler.family import Family
from exporter.sampler.plan import SamplerPlan
from exporter.sampler.setup import Case, Setup, make_setup
from exporter.sampler.verdict import FLOOR_FACTOR

CLOSE = 2e-6
"""Relative difference of one part alone: a few roundings of float32."""

Same = Callable[[Mapping[str, torch.Tensor], Array], bool]
"""The UNet's inputs by name, and a prediction: whether that is what it makes of them."""

_PROBE = "probe."


@dataclass(frozen=True)
class Departure:
    """The first part that is not diffusers'.

    Attributes:
        role: ``loop_state``, ``guidance``, ``scheduler_step`` or ``UNet``; empty if none was
            found alone.
        step: From 0.
        what: In words.
    """

    role: str
    step: int
    what: str

    def __str__(self) -> str:
        if not self.role:
            return "no part departs alone"
        return f"first departs in the {self.role} of step {self.step}: {self.what}"


def locate(path: Path, plan: SamplerPlan, case: Case) -> Departure:
    """Runs the copy on one case and asks each part.

    Args:
        path: The sampler's file.
        plan: What it should be.
        case: A run that fails.
    """
    setup = make_setup(plan, case)
    unet = open_session(plan.request.unet, plan.request.provider)

    def same(fed: Mapping[str, torch.Tensor], output: Array) -> bool:
        close = CLOSE + FLOOR_FACTOR * _rounding(torch.from_numpy(output))
        return not _apart(output, next(iter(unet.run(fed).values())), close)

    copy = probe(onnx.load(path, load_external_data=False))
    session = open_session(
        copy.SerializeToString(), plan.request.provider, weights_folder=path.absolute().parent
    )
    return first_departure(session.run(setup.feeds), setup, plan.family, same)


def first_departure(
    seen: Mapping[str, Array], setup: Setup, family: Family, same: Same
) -> Departure:
    """Asks each part.

    Args:
        seen: What a probed copy gives out; see ``probe``.
        setup: What it was fed, and diffusers' side.
        family: The scheduler it should have.
        same: Whether a prediction is what a UNet makes of its inputs.
    """
    found = {k.removeprefix(_PROBE): v for k, v in seen.items() if k.startswith(_PROBE)}
    return next(_departures(found, setup, family, same), Departure("", 0, ""))


def probe(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model itself, with every call's inputs and outputs in the loop's body given out."""
    loop = next(node for node in model.graph.node if node.op_type == "Loop")
    body = next(a.g for a in loop.attribute if a.name == "body")
    inside = {v.name: v for v in (*body.value_info, *body.input, *body.output)}
    outside = {v.name: v for v in (*model.graph.value_info, *model.graph.input)}
    parameters = {(f.domain, f.name): f for f in model.functions}
    done = set()
    for call in [n for n in body.node if (n.domain, n.op_type) in parameters]:
        function = parameters[call.domain, call.op_type]
        ends = [*zip(function.input, call.input, strict=True)]
        ends += [*zip(function.output, call.output, strict=True)]
        for formal, actual in ends:
            name = f"{_PROBE}{call.op_type}.{formal}"
            if name in done or actual not in {**inside, **outside}:
                continue
            done.add(name)
            kind = {**outside, **inside}[actual]
            body.node.append(
                onnx.helper.make_node("Identity", [actual], [f"{name}.each"], name=name)
            )
            _give_out(body.output, kind, f"{name}.each")
            loop.output.append(name)
            _give_out(model.graph.output, kind, name, stacked=True)
    return model


def _give_out(outputs: Any, kind: Any, name: str, *, stacked: bool = False) -> None:
    shown = outputs.add()
    shown.CopyFrom(kind)
    shown.name = name
    if stacked:
        shape = kind.type.tensor_type.shape
        del shown.type.tensor_type.shape.dim[:]
        shown.type.tensor_type.shape.dim.add().dim_param = "N"
        shown.type.tensor_type.shape.dim.extend(shape.dim)


def _departures(
    seen: Mapping[str, Array], setup: Setup, family: Family, same: Same
) -> Iterator[Departure]:
    """Every departure, the earliest step first; within a step, in the order of the body."""
    step = type(family.scheduler).__name__.removesuffix("Scheduler")
    scheduler = setup.loop.scheduler
    start = setup.feeds["latents"] * scheduler.init_noise_sigma
    _, random = setup.loop.first_latents()
    carried = {"sample": start.numpy()}
    timesteps = scheduler.timesteps.float().numpy()
    states = ("sample", *family.state)
    if len(seen["UNet.timestep"]) != len(timesteps):
        yield Departure(
            "loop_state", 0, f"{len(seen['UNet.timestep'])} evaluations, not {len(timesteps)}"
        )
        return
    for i, timestep in enumerate(scheduler.timesteps):
        here = {key: values[i] for key, values in seen.items()}
        if float(here["UNet.timestep"].ravel()[0]) != float(timesteps[i]):
            got = float(here["UNet.timestep"].ravel()[0])
            yield Departure("loop_state", i, f"timestep {got:g}, not {float(timesteps[i]):g}")
        for key in states:
            if key in carried and _apart(here[f"{step}.{key}"], carried[key]):
                yield Departure("loop_state", i, f"{key} is not what the step before left")
        latents = torch.from_numpy(here[f"{step}.sample"])
        scaled = scheduler.scale_model_input(latents, timestep)
        yield from _unet(here, i, scaled, setup, same)
        prediction = torch.from_numpy(here[f"{step}.model_output"])
        if setup.guided and setup.loop.guidance is not None:
            halves, scale = (
                torch.from_numpy(here["UNet." + _output(here)]),
                setup.loop.guidance,
            )
            without, wanted = halves.float().chunk(2)
            guided = without + scale * (wanted - without)
            grown = 2 * scale * float(halves.float().norm() / guided.norm())
            close = CLOSE + _rounding(halves) * grown
            if _apart(prediction.numpy(), guided.numpy(), close):
                yield Departure(
                    "guidance", i, "the halves are not combined as the pipeline does"
                )
        after, _ = advance(scheduler, prediction, timestep, latents, random)
        if _apart(here[f"{step}.prev_sample"], after.numpy()):
            yield Departure(
                "scheduler_step", i, "the latents are not what diffusers' step makes"
            )
        carried = {"sample": here[f"{step}.prev_sample"]}
        carried |= {
            key: here[f"{step}.{key}_out"]
            for key in family.state
            if f"{step}.{key}_out" in here
        }


def _output(here: Mapping[str, Array]) -> str:
    return next(
        k for k in here if k.startswith("UNet.out") or k.endswith(".out_sample")
    ).removeprefix("UNet.")


def _unet(
    here: Mapping[str, Array], i: int, scaled: torch.Tensor, setup: Setup, same: Same
) -> Iterator[Departure]:
    fed = {
        k.removeprefix("UNet."): torch.from_numpy(v)
        for k, v in here.items()
        if k.startswith("UNet.")
    }
    output = fed.pop(_output(here))
    rows = torch.cat([scaled, scaled]) if setup.guided else scaled
    given = fed["sample"][:, : rows.shape[1]]
    if _apart(given.float().numpy(), rows.to(given.dtype).float().numpy()):
        yield Departure("scheduler_step", i, "the UNet is not given the scaled latents")
    for name, wanted in setup.loop.conditions.items():
        if name in fed and _apart(
            fed[name].float().numpy(), wanted.to(fed[name].dtype).float().numpy()
        ):
            yield Departure("guidance", i, f"{name} is not [without text; with text]")
    if not same(fed, output.numpy()):
        yield Departure("UNet", i, "the prediction is not the UNet's")


def _rounding(prediction: torch.Tensor) -> float:
    """Of half precision, which ONNX Runtime may leave out where float32 comes next."""
    return 0.0 if prediction.dtype == torch.float32 else torch.finfo(prediction.dtype).eps


def _apart(ours: Array, theirs: Array, close: float | None = None) -> bool:
    if ours.shape != theirs.shape:
        return True
    return not compare(ours, theirs).rel_l2 <= (CLOSE if close is None else close)
