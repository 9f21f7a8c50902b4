"""``python -m viewer.replay``."""

import sys

from viewer.replay.cli import main

if __name__ == "__main__":
    sys.exit(main())
