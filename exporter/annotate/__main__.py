"""``python -m exporter.annotate``."""

from exporter.terminal import command

if __name__ == "__main__":
    command("exporter.annotate.cli")
