"""Passes that write operators of ONNX Runtime's own; what they make is no longer portable."""
