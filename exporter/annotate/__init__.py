"""Any UNet's .onnx -> the same graph, annotated by data flow and folded by its own scopes."""
