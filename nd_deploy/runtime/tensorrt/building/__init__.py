"""From an ONNX model to an engine, in a process of its own."""
