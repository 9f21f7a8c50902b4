"""``python -m exporter.lora``."""

from exporter.terminal import command

if __name__ == "__main__":
    command("exporter.lora.cli")
