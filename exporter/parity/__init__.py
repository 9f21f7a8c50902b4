"""PyTorch against ONNX Runtime on the file as written."""
