"""From a diffusers UNet to a proven, annotated ONNX graph."""
