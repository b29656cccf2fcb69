"""Machines that are not here, as facts."""

from dataclasses import replace

from nd_deploy.doctor import Facts
from nd_deploy.doctor.facts import Driver, Gpu, OnnxRuntime, Plugin, TensorRt

CPU, CUDA, TENSORRT = (f"{name}ExecutionProvider" for name in ("CPU", "CUDA", "Tensorrt"))
NEEDS = {
    CUDA: ("libcublas.so.13", "libcuda.so.1"),
    TENSORRT: ("libcublas.so.13", "libnvinfer.so.10", "libcudnn.so.9"),
}

PLAIN = Facts(
    python="3.11",
    platform="Linux",
    machine="x86_64",
    processors=2,
    telemetry_off=True,
    packages={"nd-deploy": "1", "onnxruntime": "1.31.1"},
    onnxruntime=OnnxRuntime("1.31.1", runs={CPU: None}),
)

PLUGIN = Plugin(
    "/p/libnd.so",
    ops=("NDChannelDeconv",),
    headers="10.3.0",
    nvcc="13.0.1",
    archs=("75", "80", "86", "90", "120"),
    ptx="120",
)

# Everything fits.
H200 = replace(
    PLAIN,
    packages={
        "nd-deploy": "1",
        "onnxruntime-gpu": "1.31.1",
        "tensorrt-cu13": "10.16.1",
        "cuda-bindings": "13.0.3",
    },
    gpus=(Gpu("NVIDIA H200", "9.0", "143771 MiB"),),
    driver=Driver("580.65.06", "13.0"),
    nvcc="13.0",
    cudnn="9.28.0",
    cuda_package="cuda-bindings 13.0.3",
    onnxruntime=OnnxRuntime(
        "1.31.1", "13.0", runs={CPU: None, CUDA: None, TENSORRT: None}, needs=NEEDS
    ),
    tensorrt=TensorRt("10.16.1", precedence="ATTRIBUTE"),
    plugins=(PLUGIN,),
)

# JetPack 6: TensorRT of the system, and no ONNX Runtime for the GPU in the package index.
ORIN = replace(
    PLAIN,
    machine="aarch64",
    jetson="36.4.3",
    gpus=(Gpu("Orin", "8.7"),),
    driver=Driver(None, "12.6"),
    nvcc="12.6",
    cuda_package="cuda-bindings 12.6.2",
    packages={"nd-deploy": "1", "cuda-bindings": "12.6.2", "onnxruntime": "1.31.1"},
    tensorrt=TensorRt("10.3.0", precedence="BODY"),
)
