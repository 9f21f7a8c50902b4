"""diffusers' scheduler classes to the families that are written down here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exporter.errors import UsageError
from exporter.sampler.ddim import DDIM
from exporter.sampler.ddpm import DDPM
from exporter.sampler.dpm_solver import DPMSolver
from exporter.sampler.euler import Euler, EulerAncestral
from exporter.sampler.family import Family
from exporter.sampler.lcm import LCM
from exporter.sampler.pndm import PNDM
from exporter.sampler.unipc import UniPC

FAMILIES: Mapping[str, type[Family]] = {
    "DDIMScheduler": DDIM,
    "DDPMScheduler": DDPM,
    "DPMSolverMultistepScheduler": DPMSolver,
    "EulerAncestralDiscreteScheduler": EulerAncestral,
    "EulerDiscreteScheduler": Euler,
    "LCMScheduler": LCM,
    "PNDMScheduler": PNDM,
    "UniPCMultistepScheduler": UniPC,
}


def family_of(scheduler: Any) -> Family:
    """The family of one of diffusers' schedulers.

    Raises:
        UsageError: Its class is not written down here.
        ConfigError: Its config asks for something that is not.
    """
    name = type(scheduler).__name__
    if name not in FAMILIES:
        raise UsageError(f"{name} as a graph", f"one of {', '.join(FAMILIES)}")
    return FAMILIES[name](scheduler)
