"""UNet, guidance and scheduler -> the sampling stage as one graph with a ``Loop``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from exporter.sampler import guidance, spacing
from exporter.sampler.conditions import Conditions, declare
from exporter.sampler.control import call, invoke, loop
from exporter.sampler.embed import as_function
from exporter.sampler.expr import (
    FLOAT,
    INT64,
    Dim,
    Expr,
    constant,
    dims,
    gather,
    op,
    parameter,
    size,
    where,
)
from exporter.sampler.family import Family
from exporter.sampler.scope import about, scope

DOMAIN = "sampler"

SCHEDULE_DOC = """\
`{name}.set_timesteps` and all that its `step` reads from tables: one row for each evaluation
of the UNet, computed from `num_inference_steps` at run time.

{formula}"""

STEP_DOC = """\
`{name}.step`: from the latents and the prediction to the latents of the next timestep.

{formula}"""


@dataclass(frozen=True)
class Inputs:
    """Graph inputs that the loop reads.

    Attributes:
        latents: The initial noise.
        steps: ``num_inference_steps``.
        conditions: What the UNet and guidance are told.
        noise: What the scheduler adds on each step; None where it adds none.
    """

    latents: Expr
    steps: Expr
    conditions: Conditions
    noise: Expr | None

    @property
    def in_order(self) -> list[Expr]:
        """As the graph lists them."""
        noise = [] if self.noise is None else [self.noise]
        return [self.latents, *self.conditions.inputs, *noise, self.steps]


@dataclass(frozen=True)
class Stage:
    """The sampling stage, recorded.

    Attributes:
        inputs: Of the graph.
        results: Outputs of the graph by name.
        graph: With one ``Loop``.
        functions: What it calls, the UNet and its functions included.
        opsets: Versions of the domains that occur.
    """

    inputs: Inputs
    results: dict[str, Expr]
    graph: ir.Graph
    functions: list[ir.Function]
    opsets: dict[str, int]


def sampling_graph(unet: ir.Model, family: Family, *, keep_steps: bool) -> ir.Model:
    """Builds the graph.

    Args:
        unet: The UNet's file, loaded; consumed.
        family: The scheduler.
        keep_steps: Also give out the latents after every step.

    Returns:
        A model with one ``Loop``. Metadata of the UNet's file is kept.
    """
    stage = sampling_stage(unet, family, keep_steps=keep_steps)
    model = ir.Model(stage.graph, ir_version=unet.ir_version, functions=stage.functions)
    model.producer_name, model.producer_version = unet.producer_name, unet.producer_version
    model.metadata_props.update(unet.metadata_props)
    return model


def sampling_stage(unet: ir.Model, family: Family, *, keep_steps: bool) -> Stage:
    """Records the graph and the functions in it; see ``sampling_graph``."""
    opset = unet.opset_imports[""]
    specs = {str(value.name): value for value in unet.graph.inputs}
    sample = unet.graph.outputs[0]
    function = as_function(unet)
    with scope(opset) as top:
        inputs = _inputs(specs, sample, family)
        with about(
            guidance.pipeline("__call__", "for i, t in enumerate(timesteps)"), "sampler"
        ):
            results = _sample(inputs, family, function, specs, sample, keep_steps=keep_steps)
        graph = top.graph(
            [e.value for e in inputs.in_order],
            [e.value for e in results.values()],
            "sampling_stage",
        )
        functions = [*top.library.values(), *unet.functions.values(), function]
    domains = {f.domain: 1 for f in functions}
    graph.opset_imports.update({**unet.opset_imports, **domains, "": opset})
    return Stage(inputs, results, graph, functions, dict(graph.opset_imports))


def _inputs(specs: Mapping[str, ir.Value], sample: ir.Value, family: Family) -> Inputs:
    image: tuple[Dim, ...] = ("B", size(sample, 1), "H", "W")
    latents = parameter("latents", FLOAT, image)
    conditions = declare(specs, size(sample, 1))
    noise = parameter("noise", FLOAT, (spacing.ROUNDS, *image)) if family.noisy else None
    return Inputs(latents, parameter("num_inference_steps", INT64, ()), conditions, noise)


def _sample(
    inputs: Inputs,
    family: Family,
    unet: ir.Function,
    specs: Mapping[str, ir.Value],
    sample: ir.Value,
    *,
    keep_steps: bool,
) -> dict[str, Expr]:
    """Everything between graph inputs and outputs."""
    name = type(family.scheduler).__name__
    with about(family.cite("set_timesteps"), "loop_state"):
        steps = spacing.limited(inputs.steps, family.limit)
        tables = call(
            DOMAIN,
            "Schedule",
            lambda steps: family.schedule(steps),
            {"steps": op("Max", steps, constant(1, INT64))},
            doc=SCHEDULE_DOC.format(name=name, formula=family.formula),
        )
        tables = {key: e.named(f"{key}_table") for key, e in tables.items()}
        rounds = where(steps > 0, spacing.length(tables["timestep"]), 0).named("evaluations")
        latents = inputs.latents
        if "init_noise_sigma" in tables:
            level = where(steps > 0, tables.pop("init_noise_sigma"), 1.0)
            latents = (latents * level).named("scaled_noise")
        state = {"latents": latents}
        if family.state:
            sizes = op("Shape", latents, dtype=INT64, shape=(4,))
            zeros = op("ConstantOfShape", sizes, dtype=FLOAT, shape=latents.shape)
            state |= dict.fromkeys(family.state, zeros.named("nothing_yet"))
    with about(role="guidance"):
        fed = inputs.conditions.fed(inputs.latents)

    def body(step: Expr, state: dict[str, Expr]) -> tuple[dict[str, Expr], dict[str, Expr]]:
        carried = dict(state)
        latents = carried.pop("latents")
        with about(family.cite("step"), "loop_state"):
            row = {key: gather(table, step).named(key) for key, table in tables.items()}
            noise = None if inputs.noise is None else gather(inputs.noise, step)
        evaluate = _Evaluation(family, unet, specs, sample, inputs.conditions, fed)
        prediction = evaluate(latents, row)
        with about(family.cite("step"), "scheduler_step"):
            found = _step(family, prediction, latents, row, carried, noise)
        after = {
            "latents": found.pop("prev_sample"),
            **{k: found[f"{k}_out"] for k in family.state},
        }
        left = {"step_latents": after["latents"], "timesteps": row["timestep"]}
        return after, left if keep_steps else {}

    last, left = loop(rounds, state, body, spacing.ROUNDS)
    return {"latents": last["latents"].named("out_latents"), **left}


def _step(
    family: Family,
    prediction: Expr,
    latents: Expr,
    row: Mapping[str, Expr],
    state: Mapping[str, Expr],
    noise: Expr | None,
) -> dict[str, Expr]:
    name = type(family.scheduler).__name__
    scalars = {key: e for key, e in row.items() if key in family.reads}
    given = {"model_output": prediction, "sample": latents, **scalars, **state}
    if noise is not None:
        given["noise"] = noise

    def write(model_output: Expr, sample: Expr, **rest: Expr) -> dict[str, Expr]:
        own = {key: rest[key] for key in scalars}
        carried = {key: rest[key] for key in state}
        found = family.step(model_output, sample, own, carried, rest.get("noise"))
        after = {f"{key}_out": found[key] for key in family.state}
        return {"prev_sample": found["prev_sample"], **after}

    doc = STEP_DOC.format(name=name, formula=family.formula)
    return call(DOMAIN, name.removesuffix("Scheduler"), write, given, doc=doc)


@dataclass(frozen=True)
class _Evaluation:
    """The UNet at one step: latents to one prediction, both halves in one batch."""

    family: Family
    unet: ir.Function
    specs: Mapping[str, ir.Value]
    sample: ir.Value
    conditions: Conditions
    fed: Mapping[str, Expr]

    def __call__(self, latents: Expr, row: Mapping[str, Expr]) -> Expr:
        scaled = self._scaled(latents, row)
        rows = self.conditions.rows(scaled)
        with about(guidance.pipeline("__call__", "latent_model_input = torch.cat")):
            time = op("Unsqueeze", row["timestep"], constant(np.array([0]), INT64), shape=(1,))
        inputs = [
            {"sample": rows, "timestep": time, **self.fed}[name].to(_dtype(spec))
            for name, spec in self.specs.items()
        ]
        with about(guidance.pipeline("__call__", "noise_pred = self.unet("), "sampler"):
            shape = (rows.shape[0], *dims(self.sample)[1:])
            kind = {"noise_pred": (_dtype(self.sample), shape)}
            prediction = invoke(self.unet, inputs, kind)["noise_pred"].to(FLOAT)
        return self.conditions.combined(prediction)

    def _scaled(self, latents: Expr, row: Mapping[str, Expr]) -> Expr:
        if type(self.family).scale is Family.scale:
            return latents
        with about(self.family.cite("scale_model_input"), "scheduler_step"):
            return call(
                DOMAIN,
                "ScaleModelInput",
                lambda sample, sigma: {"scaled": self.family.scale(sample, {"sigma": sigma})},
                {"sample": latents, "sigma": row["sigma"]},
                doc="What the UNet was trained to see: unit variance.",
            )["scaled"]


def _dtype(value: ir.Value) -> ir.DataType:
    assert value.dtype is not None
    return value.dtype
