"""``python -m exporter``."""

import os
import signal
import sys

from exporter.cli import main

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does: tidily
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # taking a whole graph apart takes Python two seconds, the system none
