"""Rewrites of an onnx_ir graph, one pass a file."""
