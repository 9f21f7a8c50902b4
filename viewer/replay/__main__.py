"""``python -m viewer.replay``."""

from viewer.terminal import command

if __name__ == "__main__":
    command("viewer.replay.cli")
