"""ONNX Runtime's names of its execution providers."""

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"

GPU = (CUDA, TENSORRT)
