"""``python -m exporter.sample``."""

import sys

from exporter.sample.cli import main

if __name__ == "__main__":
    sys.exit(main())
