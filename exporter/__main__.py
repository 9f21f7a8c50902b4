"""``python -m exporter``."""

import signal
import sys

from exporter.cli import main

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does: tidily
    sys.exit(main())
