"""What Network Deconvolution is: its layers, its checkpoints and its ONNX dialect."""
