"""``sampling MODE UNET SAMPLER STEPS SIZE``: one image's latents, in one of three ways.

MODE ``loop`` is diffusers' loop in Python over the UNet's file, ``graph`` one call of the
sampler's file, ``unpacked`` likewise in a session that does not prepack. Prints seconds of
processor time and of the clock, and peak memory; the same modules are imported for all.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

from exporter.runtime.session import open_session
from exporter.sampler.plan import SamplerRequest, make_plan
from exporter.sampler.proof import reference
from exporter.sampler.setup import Case, make_setup

SCHEDULER = "ddim"


def main(mode: str, unet: str, sampler: str, steps: str, size: str) -> None:
    """Measures one way."""
    plan = make_plan(SamplerRequest(Path(sampler), Path(unet), SCHEDULER, check=False))
    case = Case(int(steps), height=int(size), width=int(size), tokens=77)
    setup = make_setup(plan, case)
    start = time.process_time()
    file = Path(unet if mode == "loop" else sampler)
    session = open_session(file, "cpu", prepack=mode != "unpacked")
    opened = time.process_time() - start
    figures: dict[str, float] = {"open": opened}
    for name in ("first", "cpu"):  # the first run plans its memory
        start, clock = time.process_time(), time.perf_counter()
        if mode == "loop":
            last = reference(setup, session)[-1].numpy()
        else:
            last = session.run(setup.feeds)["out_latents"]
        figures[name] = time.process_time() - start
        figures["wall"] = time.perf_counter() - clock
    figures["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0
    figures["spread"] = float(last.std())
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
