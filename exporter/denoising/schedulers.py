"""diffusers' schedulers by a short name, by class name, or from a saved folder."""

from __future__ import annotations

import contextlib
import copy
import inspect
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from exporter.denoising.schedules import DDPM, schedule_of
from exporter.errors import ConfigError, UsageError
from exporter.json_text import json_object, parse_json

SHORT: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "ddim": ("DDIMScheduler", {"set_alpha_to_one": False}),
    "ddpm": ("DDPMScheduler", {}),
    "deis": ("DEISMultistepScheduler", {}),
    "dpm++": ("DPMSolverMultistepScheduler", {}),
    "dpm++-karras": ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler-a": ("EulerAncestralDiscreteScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "lcm": ("LCMScheduler", {}),
    "pndm": ("PNDMScheduler", {"skip_prk_steps": True, "set_alpha_to_one": False}),
    "tcd": ("TCDScheduler", {}),
    "unipc": ("UniPCMultistepScheduler", {}),
}
"""Short name to class and to what Stable Diffusion's own configs add to its defaults."""

_NEEDED = ("set_timesteps", "scale_model_input", "init_noise_sigma", "step")


def load_scheduler(
    name: str,
    steps: int,
    *,
    class_name: str,
    config: Mapping[str, Any] | None = None,
    prediction: str | None = None,
) -> Any:
    """A scheduler with its timesteps set.

    Args:
        name: A key of ``SHORT``, a diffusers class name, or a folder (a scheduler's or a
            pipeline's) with ``scheduler_config.json``.
        steps: Inference steps; some schedulers call the UNet more often than that.
        class_name: The UNet's class, which decides the noise schedule unless a folder does.
        config: The model's own ``scheduler_config.json``, whose values come before those of
            the class; not used where ``name`` is a folder.
        prediction: ``epsilon``, ``v_prediction`` or ``sample``; None keeps the config's.

    Raises:
        UsageError: No such scheduler, one that is not for noise-predicting UNets, or a number
            of steps it does not take.
        ConfigError: A folder whose config diffusers cannot use.
    """
    folder = _folder(name)
    if folder is None:
        found, settings = _by_name(name, class_name, config or {})
    else:
        found, settings = _from_folder(folder)
    if prediction is not None:
        settings["prediction_type"] = prediction
    try:
        with _older_numpy():
            scheduler = found.from_config(settings)
    except Exception as error:  # whatever a constructor does with values it never expected
        raise ConfigError(f"{found.__name__} cannot be made: {_line(error)}") from error
    missing = [part for part in _NEEDED if not hasattr(scheduler, part)]
    if missing:
        raise UsageError(
            f"{found.__name__} has no {missing[0]}",
            "a scheduler for a noise-predicting UNet",
            f"one of {', '.join(SHORT)}",
        )
    try:
        with _older_numpy():
            scheduler.set_timesteps(steps)
    except Exception as error:  # each class checks in its own way
        raise UsageError(f"{found.__name__} with --steps {steps}: {_line(error)}") from error
    return scheduler


def pipeline_config(pipeline: Path | None) -> Mapping[str, Any] | None:
    """What a pipeline's folder says of its scheduler; None where it says nothing.

    Raises:
        UsageError: The file is no JSON object.
    """
    file = pipeline / "scheduler" / "scheduler_config.json" if pipeline else None
    if file is None or not file.is_file():
        return None
    return json_object(file.read_bytes(), str(file))


def advance(
    scheduler: Any,
    prediction: torch.Tensor,
    timestep: torch.Tensor,
    latents: torch.Tensor,
    generator: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """One scheduler step.

    Returns:
        The next latents, and the clean image the scheduler believes in (None if it is silent).
    """
    known = inspect.signature(scheduler.step).parameters
    extra = {"generator": generator} if "generator" in known else {}
    with _older_numpy():
        result = scheduler.step(prediction, timestep, latents, **extra)
    believed = (getattr(result, name, None) for name in ("pred_original_sample", "denoised"))
    return result.prev_sample, next((image for image in believed if image is not None), None)


def tells_clean(scheduler: Any) -> bool:
    """Whether ``advance`` returns a clean image for this scheduler: one step of a copy."""
    zeros, trial = torch.zeros(1, 1, 8, 8), copy.deepcopy(scheduler)
    first = trial.timesteps[0]
    scaled = trial.scale_model_input(zeros, first)
    return advance(trial, zeros, first, scaled, torch.Generator())[1] is not None


@contextlib.contextmanager
def _older_numpy() -> Iterator[None]:
    """Some of diffusers' schedulers hand tensors to numpy in a way that numpy 2 deprecates."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "__array", DeprecationWarning)
        yield


def _folder(name: str) -> Path | None:
    path = Path(name)
    for candidate in (path / "scheduler", path):
        if (candidate / "scheduler_config.json").is_file():
            return candidate
    if path.is_dir():
        raise UsageError(f"{name} as scheduler", "a folder with scheduler_config.json")
    return None


def _by_name(name: str, class_name: str, own: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    import diffusers  # takes seconds

    full, more = SHORT.get(name.lower(), (name, {}))
    found = getattr(diffusers, full, None) if full.endswith("Scheduler") else None
    if found is None:
        raise UsageError(
            f"scheduler {name!r}",
            f"one of {', '.join(SHORT)}, a diffusers class name or a folder",
        )
    schedule = schedule_of(class_name)
    known = inspect.signature(found.__init__).parameters
    trained = {**schedule, "steps_offset": 1, "clip_sample": schedule is DDPM, **own}
    config = {**trained, **more}
    return found, {key: value for key, value in config.items() if key in known}


def _from_folder(folder: Path) -> tuple[Any, dict[str, Any]]:
    import diffusers

    file = folder / "scheduler_config.json"
    try:
        config = parse_json(file.read_bytes())
        found = getattr(diffusers, config["_class_name"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{file}: {_line(error)}", "a config diffusers saved") from error
    return found, dict(config)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
