"""ONNX Runtime under a written file: providers, sessions, memory, contract, inlined model."""
