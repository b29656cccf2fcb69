"""Everything that is to be known of a machine before a measurement on it."""

from __future__ import annotations

import contextlib
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import nd_deploy
from nd_deploy.compat import cuda_driver, version_of
from nd_deploy.errors import BackendError
from nd_deploy.profiling.environment.cpu import look_at_cpu
from nd_deploy.profiling.environment.files import text_of
from nd_deploy.profiling.environment.jetson import look_at_jetson
from nd_deploy.profiling.environment.jetson_sensors import gpu_max_mhz
from nd_deploy.profiling.environment.nvml import NvmlGpu, open_gpu
from nd_deploy.profiling.environment.record import Environment, Gpu
from nd_deploy.profiling.environment.state import filled

PACKAGES = (
    "cuda-bindings",
    "ml-dtypes",
    "numpy",
    "nvidia-cudnn-cu12",
    "nvidia-cudnn-cu13",
    "nvidia-ml-py",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "tensorrt",
    "tensorrt-cu12",
    "tensorrt-cu13",
    "tensorrt-rtx",
    "torch",
)
"""The distributions that a measured time may depend on."""


def look_around(
    versions: Sequence[str] = PACKAGES,
    device: int | None = None,
    root: Path = Path("/"),
    wait: Callable[[float], None] = time.sleep,
) -> Environment:
    """Look at the machine, before anything is opened on it: that would count as others' load.

    Args:
        versions: the distributions to note, where they are installed.
        device: CUDA's number of the GPU that takes part; None if none does.
        root: of the file tree.
        wait: lets so many seconds pass, during which others' load is watched.

    Returns:
        The environment, without samples. What is not to be found out is None.
    """
    found = {name: version_of(name) for name in versions}
    return Environment(
        machine=platform.machine(),
        system=platform.platform(),
        python=platform.python_version(),
        cpu=look_at_cpu(root, wait),
        versions={"nd-deploy": nd_deploy.__version__}
        | {name: version for name, version in found.items() if version is not None},
        gpu=None if device is None else _gpu(device, root),
        jetson=look_at_jetson(root),
    )


def _gpu(device: int, root: Path) -> Gpu | None:
    """A GPU by NVML, with its gaps filled by the driver and by a Jetson's kernel."""
    managed, driven = _by_nvml(device), _by_driver(device, root)
    if managed is None or driven is None:
        return managed or driven
    return filled(managed, driven)


def _by_nvml(device: int) -> Gpu | None:
    gpu = open_gpu(device)
    if not isinstance(gpu, NvmlGpu):
        return None
    with contextlib.closing(gpu):
        return gpu.facts()


def _by_driver(device: int, root: Path) -> Gpu | None:
    try:
        gpu = cuda_driver.device(device)
        return Gpu(
            name=gpu.name,
            compute_capability=gpu.compute_capability,
            driver=text_of(root / "sys/module/nvidia/version"),
            cuda=cuda_driver.version(),
            memory_bytes=gpu.memory,
            l2_bytes=cuda_driver.l2_bytes(device),
            max_sm_mhz=gpu_max_mhz(root),
        )
    except BackendError:
        return None
