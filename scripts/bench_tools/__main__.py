"""``scripts/bench``."""

import sys

from bench_tools.cli import main

if __name__ == "__main__":
    sys.exit(main())
