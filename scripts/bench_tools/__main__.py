"""``scripts/bench peers|floor|scale|gpu|sampler|viewer|copies``."""

import sys
from importlib import import_module

COMMANDS = {
    "peers": "cli",
    "floor": "surplus",
    "scale": "scale",
    "gpu": "gpu",
    "sampler": "sampling",
    "viewer": "viewing",
    "copies": "copies",
}


def main(argv: list[str]) -> int:
    """Runs one benchmark; 2 if there is none of that name."""
    if not argv or argv[0] not in COMMANDS:
        sys.stderr.write(f"usage: scripts/bench {'|'.join(COMMANDS)} ... (-h lists options)\n")
        return 2
    code: int = import_module(f"bench_tools.{COMMANDS[argv[0]]}").main(argv[1:])
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
