"""``python -m exporter``."""

from exporter.terminal import command

if __name__ == "__main__":
    command("exporter.cli")
