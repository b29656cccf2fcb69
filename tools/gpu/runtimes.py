"""The runtimes that use the GPU: whether they are here, and how the suite asks them to run."""

from __future__ import annotations

from pathlib import Path

from gpu.parts import Settings
from nd_deploy import compat
from nd_deploy.compat import trt
from nd_deploy.errors import NdDeployError
from nd_deploy.runtime.options import (
    ORT_CPU,
    ORT_CUDA,
    ORT_TENSORRT,
    TENSORRT,
    TENSORRT_RTX,
    RunOptions,
)
from nd_deploy.runtime.ort.libraries import require_libraries
from nd_deploy.runtime.ort.names import CUDA
from nd_deploy.runtime.ort.names import TENSORRT as ORT_TENSORRT_PROVIDER
from nd_deploy.runtime.tensorrt.device import NoDevice, find_device

RUNTIMES = (TENSORRT, TENSORRT_RTX, ORT_CUDA, ORT_TENSORRT)
_PROVIDERS = {ORT_CUDA: CUDA, ORT_TENSORRT: ORT_TENSORRT_PROVIDER}
_MODULES = {TENSORRT: trt.TENSORRT, TENSORRT_RTX: trt.RTX}


def unavailable(runtime: str) -> str:
    """Why a runtime cannot be used here, and what installs it; "" if it can."""
    try:
        if runtime in _MODULES:
            trt.load(_MODULES[runtime])
        elif runtime in _PROVIDERS:
            provider = _PROVIDERS[runtime]
            ort = compat.onnxruntime()
            if provider not in ort.get_available_providers():
                return f"onnxruntime {ort.__version__} has no {provider}: pip install " + (
                    "'nd-deploy[gpu]' in place of 'nd-deploy[cpu]'"
                )
            require_libraries(provider)
    except NdDeployError as error:
        return f"{error.problem}; {error.remedy}"
    device = find_device()
    if runtime != ORT_CPU and isinstance(device, NoDevice):
        return f"{device.reason}; {device.remedy}"
    return ""


def expected_to_refuse(runtime: str) -> bool:
    """Whether a runtime does not list this GPU among those that it supports.

    TensorRT-RTX is for the GPUs of workstations; what it says of another one is worth knowing, and
    no failure.
    """
    device = find_device()
    if runtime != TENSORRT_RTX or isinstance(device, NoDevice):
        return False
    return device.compute_capability not in trt.compute_capabilities(trt.load(trt.RTX))


def library_for(runtime: str, settings: Settings) -> str | None:
    """The build of the plugin library that a runtime loads, if it is there."""
    return settings.self_registering if runtime == ORT_TENSORRT else settings.library


def options(runtime: str, plugin: bool, settings: Settings, batch: int) -> RunOptions:
    """How a model whose batch is its one open axis is run.

    Args:
        runtime: where.
        plugin: whether with the plugin library.
        settings: of the suite.
        batch: the largest, and the one to be fastest at.
    """
    if runtime in (ORT_CPU, ORT_CUDA):
        return RunOptions()
    library = library_for(runtime, settings)
    plugins = (Path(library),) if plugin and library else ()
    return RunOptions(plugins=plugins, batch=f"1:{batch}:{batch}")
