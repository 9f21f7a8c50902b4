"""``python -m exporter.sample``."""

from exporter.terminal import command

if __name__ == "__main__":
    command("exporter.sample.cli")
