"""Which part of a picture's sampling stage departs first: as of a sampler's own file.

The stage is taken out of the file as a model of its own and given what it was given there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
import torch

from exporter.denoising.loop import Loop
from exporter.denoising.schedulers import load_scheduler
from exporter.parity.metrics import measure_floor
from exporter.runtime.session import Array, open_session
from exporter.sampler import setup as sampler
from exporter.sampler.conditions import PIPELINE_NAMES
from exporter.sampler.locate import Departure, first_departure, probe
from exporter.sampler.verdict import FLOOR_FACTOR, ROUNDINGS
from exporter.text_to_image.join import SAMPLER
from exporter.text_to_image.plan import PicturePlan
from exporter.text_to_image.proof import Setup, precisions
from exporter.text_to_image.reference import drawing, load_pipeline
from exporter.torch_dtypes import TORCH_DTYPES


def locate_inside(
    path: Path, given: Mapping[str, Array], setup: Setup, plan: PicturePlan
) -> Departure:
    """Asks each part of the sampling stage.

    Args:
        path: The file.
        given: What the stage was given in it, by its names.
        setup: The case.
        plan: What the file should be.
    """
    stage = stage_of(onnx.load(path, load_external_data=False))
    feeds = {spec.name: torch.from_numpy(given[spec.name]) for spec in stage.graph.input}
    session = open_session(
        probe(stage).SerializeToString(),
        plan.request.provider,
        weights_folder=path.absolute().parent,
    )
    seen = session.run(feeds)
    with drawing(plan.family.scheduler, setup.noise):
        made = sampler.Setup(_loop(plan, setup, feeds), feeds, setup.case.guidance > 1)
        return first_departure(seen, made, plan.family, _unet(plan))


def stage_of(model: onnx.ModelProto) -> onnx.ModelProto:
    """The sampling stage as a model: inputs and outputs are typed as where it is called."""
    function = next(f for f in model.functions if f.name == SAMPLER)
    call = next(node for node in model.graph.node if node.op_type == SAMPLER)
    known = {v.name: v for v in (*model.graph.value_info, *model.graph.input)}

    def typed(formal: str, actual: str) -> onnx.ValueInfoProto:
        return onnx.helper.make_value_info(formal, known[actual].type)

    graph = onnx.helper.make_graph(
        function.node,
        SAMPLER,
        [typed(*pair) for pair in zip(function.input, call.input, strict=True)],
        [typed(*pair) for pair in zip(function.output, call.output, strict=True)],
        value_info=function.value_info,
    )
    others = [f for f in model.functions if f is not function]
    return onnx.helper.make_model(
        graph,
        functions=others,
        opset_imports=model.opset_import,
        ir_version=model.ir_version,
    )


def _loop(plan: PicturePlan, setup: Setup, feeds: Mapping[str, torch.Tensor]) -> Loop:
    """What diffusers runs; what its scheduler draws is given by ``drawing``."""
    mine, case = plan.family.scheduler, setup.case
    scheduler = load_scheduler(
        type(mine).__name__,
        case.steps,
        class_name=plan.source.class_name,
        config={k: v for k, v in mine.config.items() if not k.startswith("_")},
    )
    guided = case.guidance > 1
    conditions = {}
    for name, (with_text, without) in PIPELINE_NAMES.items():
        if with_text in feeds:
            halves = [feeds[without], feeds[with_text]] if guided and without else None
            conditions[name] = torch.cat(halves) if halves else feeds[with_text]
    batch, channels, height, width = setup.latents.shape
    shape = (batch, channels, height, width)
    return Loop(scheduler, shape, case.guidance if guided else None, conditions, None, 0)


def _unet(plan: PicturePlan) -> Any:
    """Whether a prediction is the pipeline's UNet's, by the floor of its own dtype."""
    kinds = precisions(TORCH_DTYPES[plan.dtype])
    unets = [(load_pipeline(plan, dtype).unet, dtype) for dtype in kinds]

    def ask(unet: Any, dtype: torch.dtype, fed: Mapping[str, torch.Tensor]) -> Array:
        own = {name: value.to(dtype) for name, value in fed.items()}
        added = {name: own[name] for name in ("text_embeds", "time_ids") if name in own}
        with torch.inference_mode():
            out: Array = (
                unet(
                    own["sample"],
                    fed["timestep"],
                    own["encoder_hidden_states"],
                    added_cond_kwargs=added or None,
                    return_dict=False,
                )[0]
                .double()
                .numpy()
            )
        return out

    def same(fed: Mapping[str, torch.Tensor], output: Array) -> bool:
        truth, native = (ask(unet, dtype, fed) for unet, dtype in unets)
        floor = measure_floor(output, native, truth, ROUNDINGS[plan.dtype])
        return floor is not None and floor.ratio <= FLOOR_FACTOR

    return same
