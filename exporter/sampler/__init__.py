"""The sampling stage as one graph: guidance, scheduler and UNet in a ``Loop``."""
