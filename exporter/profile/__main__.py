"""``python -m exporter.profile``."""

from exporter.terminal import command

if __name__ == "__main__":
    command("exporter.profile.cli")
