"""``python -m exporter.parity``."""

from exporter.terminal import command

if __name__ == "__main__":
    command("exporter.parity.cli")
