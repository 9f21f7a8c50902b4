"""``python -m viewer unet.onnx``."""

from viewer.terminal import command

if __name__ == "__main__":
    command("viewer.cli")
