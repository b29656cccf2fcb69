"""What ONNX Runtime's sessions need besides the model: providers, libraries, plugins, buffers."""
