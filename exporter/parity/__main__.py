"""``python -m exporter.parity``."""

import sys

from exporter.parity.cli import main

sys.exit(main())
