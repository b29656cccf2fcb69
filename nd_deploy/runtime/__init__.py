"""The runtimes that execute an ONNX model."""
