"""Stands in for exporter.sample.standby: the same lines and files, without PyTorch.

The prompt says what to do: ``wait`` stops after the second step until it is ended, ``deaf``
too, and does not end when it is asked to.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.viewer import recorded

COMMAND = (sys.executable, __file__)
PACE = 0.05


def main() -> int:
    print(json.dumps({"stage": "ready"}), flush=True)  # noqa: T201
    print("no JSON", flush=True)  # noqa: T201
    line = sys.stdin.readline()
    if not line:
        return 0
    _, target, *given = json.loads(line)
    options = dict(one.removeprefix("--").partition("=")[::2] for one in given)
    steps = options.get("steps", "6")
    if not steps.isdecimal():
        print(f"noise\nerror: --steps {steps}; expected 1 or more", file=sys.stderr)  # noqa: T201
        return 2
    prompt = options.get("prompt", "")
    if prompt == "refuse":
        print("error: <b>no</b>; expected another", file=sys.stderr)  # noqa: T201
        return 2
    if prompt == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    run = {**recorded.metadata()["run"], "seed": int(options.get("seed") or 0), "given": given}
    growing = Path(target).with_name(".growing.tmp")
    recorded.write(growing, run=run, seed=run["seed"], heads=2 * ("heads" in options))
    for done in range(recorded.STEPS + 1):
        say(growing, done)
        if done == 2 and prompt in ("wait", "deaf"):
            time.sleep(60)
        time.sleep(PACE)
    growing.replace(target)
    say(Path(target), recorded.STEPS)
    return 0


def say(file: Path, done: int) -> None:
    line = {"recording": str(file), "done": done, "of": recorded.STEPS}
    print(json.dumps(line), flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
