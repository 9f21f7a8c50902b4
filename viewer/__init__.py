"""From an annotated ONNX graph to something one can see."""
