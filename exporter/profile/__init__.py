"""Where ONNX Runtime's time goes: kernels, put down to the modules and roles they compute."""
