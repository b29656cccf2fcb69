"""Which pairs of things in an environment do not fit each other, and the command that mends each.

Pure functions over facts: a machine that is not there is judged as well as this one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from nd_deploy.doctor.facts import Facts, Gpu, TensorRt
from nd_deploy.doctor.judge_plugins import plugin_findings
from nd_deploy.doctor.versions import cuda_flavour, major, newer
from nd_deploy.runtime.ort.libraries import remedy
from nd_deploy.runtime.ort.names import TENSORRT

# TensorRT-RTX's own list, for a build that does not tell: of Turing, Ampere, Ada and Blackwell.
_RTX = re.compile(r"7\.5|8\.\d|12\.\d")
# From CUDA 13 on, older GPUs have no libraries.
_OLDEST_OF_CUDA_13 = (7, 5)
_UPDATE_DRIVER = "update NVIDIA's driver until nvidia-smi shows CUDA {cuda} or newer"


@dataclass(frozen=True)
class Finding:
    """Things that do not fit each other.

    Attributes:
        what: which, and why.
        remedy: what mends it.
    """

    what: str
    remedy: str


def judge(facts: Facts) -> tuple[Finding, ...]:
    """Find what does not fit.

    Args:
        facts: of an environment.

    Returns:
        What was found, the most basic first; nothing where things are merely absent.
    """
    rules = (_driver, _onnxruntime, _tensorrt, _rtx, _packages, _compiler, _cache)
    found = [finding for rule in rules for finding in rule(facts)]
    found.extend(Finding(what, mend) for what, mend in plugin_findings(facts))
    return tuple(found)


def runs_on_rtx(gpu: Gpu, rtx: TensorRt) -> bool:
    """Whether TensorRT-RTX runs on a GPU.

    Args:
        gpu: the GPU.
        rtx: what is known of TensorRT-RTX.
    """
    capability = gpu.compute_capability
    known = rtx.compute_capabilities
    # An engine for one of a generation runs on a later one of it.
    return capability in known or bool(_RTX.fullmatch(capability))


def _driver(facts: Facts) -> Iterator[Finding]:
    driver = facts.driver
    if driver is None:
        return
    if driver.problem:
        listed = f", though nvidia-smi lists {facts.gpus[0].name}" if facts.gpus else ""
        yield Finding(
            f"no program can use NVIDIA's driver{listed}: {driver.problem}",
            "in a container, start it with access to the GPU (docker run --gpus all) and with "
            "NVIDIA_DRIVER_CAPABILITIES=compute,utility; elsewhere check CUDA_VISIBLE_DEVICES, or "
            "restart the machine after an update of the driver",
        )


def _onnxruntime(facts: Facts) -> Iterator[Finding]:
    module = facts.onnxruntime
    if module is None or module.version is None:
        if module is not None and not facts.conflict:
            yield Finding(
                f"onnxruntime is installed and cannot be imported: {module.problem}",
                "pip uninstall -y onnxruntime onnxruntime-gpu && pip install 'nd-deploy[cpu]'",
            )
        return
    if module.cuda is None:
        return
    name = f"onnxruntime-gpu {module.version}"
    driver = facts.driver
    if driver and newer(major(module.cuda), major(driver.cuda)):
        yield Finding(
            f"{name} is built for CUDA {module.cuda}, and the driver takes CUDA up to "
            f"{driver.cuda}",
            f"{_UPDATE_DRIVER.format(cuda=module.cuda)}, or install an onnxruntime-gpu that is "
            f"built for CUDA {major(driver.cuda)}",
        )
    yield from _too_old(facts, name, module.cuda)
    yield from _cudnn(facts, name)
    yield from _missing_libraries(facts, name)


def _too_old(facts: Facts, name: str, cuda: str) -> Iterator[Finding]:
    for gpu in facts.gpus:
        numbers = tuple(int(part) for part in gpu.compute_capability.split(".") if part.isdecimal())
        if major(cuda) == "13" and numbers and numbers < _OLDEST_OF_CUDA_13:
            yield Finding(
                f"{name} is built for CUDA {cuda}, which no longer runs on {gpu.name} (compute "
                f"capability {gpu.compute_capability})",
                "install an onnxruntime-gpu that is built for CUDA 12",
            )


def _cudnn(facts: Facts, name: str) -> Iterator[Finding]:
    """The CUDA provider's file does not name cuDNN, which it loads for the first convolution."""
    module = facts.onnxruntime
    if module is None or not facts.gpus:
        return
    named = {n for libraries in module.needs.values() for n in libraries if "cudnn" in n}
    wanted = next((n.rsplit(".", 1)[-1] for n in named), None)
    told = any(n in libraries for libraries in module.missing.values() for n in named)
    if wanted and not told and major(facts.cudnn) != wanted:
        there = f"cuDNN {facts.cudnn} is" if facts.cudnn else "none is"
        yield Finding(
            f"{name} computes convolutions by cuDNN {wanted}, and {there} to be found",
            "pip install 'onnxruntime-gpu[cuda,cudnn]'",
        )


def _missing_libraries(facts: Facts, name: str) -> Iterator[Finding]:
    module = facts.onnxruntime
    if module is None or not facts.gpus:
        return
    for provider, missing in module.missing.items():
        libraries = [library for library in missing if library != "libcuda.so.1"]
        needed = next((n for n in libraries if n.startswith("libnvinfer.so.")), None)
        other = facts.tensorrt.version if facts.tensorrt else None
        if needed and other and major(other) != needed.rsplit(".", 1)[-1]:
            wanted = needed.rsplit(".", 1)[-1]
            yield Finding(
                f"{TENSORRT} of {name} is linked to TensorRT {wanted}, and TensorRT {other} is "
                "installed",
                f"{remedy([needed], module.cuda)}, which --runtime tensorrt takes as well; or keep "
                "the two in environments of their own",
            )
            libraries = [library for library in libraries if "nv" not in library]
        if libraries:
            is_or_are = "is" if len(libraries) == 1 else "are"
            yield Finding(
                f"{provider} of {name} needs {', '.join(libraries)}, which {is_or_are} not to be "
                "found",
                remedy(libraries, module.cuda),
            )


def _tensorrt(facts: Facts) -> Iterator[Finding]:
    module = facts.tensorrt
    if module is None:
        return
    if module.version is None:
        yield Finding(
            f"tensorrt is installed and cannot be imported: {module.problem}",
            "pip install --force-reinstall 'nd-deploy[tensorrt]'; on a Jetson, apt-get install "
            "python3-libnvinfer, and use the system's Python",
        )
        return
    cuda = cuda_flavour(facts.packages)
    driver = facts.driver
    if cuda and driver and newer(cuda, major(driver.cuda)):
        yield Finding(
            f"TensorRT {module.version} is the build for CUDA {cuda}, and the driver takes CUDA up "
            f"to {driver.cuda}",
            f"pip uninstall -y tensorrt tensorrt-cu{cuda} && "
            f"pip install 'tensorrt-cu{major(driver.cuda)}=={module.version}'",
        )


def _rtx(facts: Facts) -> Iterator[Finding]:
    module = facts.tensorrt_rtx
    if module is None:
        return
    if module.version is None:
        yield Finding(
            f"tensorrt_rtx is installed and cannot be imported: {module.problem}",
            "pip install --force-reinstall 'nd-deploy[rtx]'",
        )
        return
    for gpu in facts.gpus:
        if not runs_on_rtx(gpu, module):
            yield Finding(
                f"TensorRT-RTX {module.version} does not run on {gpu.name} (compute capability "
                f"{gpu.compute_capability}), though it builds engines here",
                "use TensorRT instead: pip install 'nd-deploy[tensorrt]', and --runtime tensorrt",
            )


def _packages(facts: Facts) -> Iterator[Finding]:
    bindings, driver = facts.packages.get("cuda-bindings"), facts.driver
    if bindings and driver and newer(major(bindings), major(driver.cuda)):
        yield Finding(
            f"cuda-bindings {bindings} is for CUDA {major(bindings)}, and the driver takes CUDA up "
            f"to {driver.cuda}",
            f"pip install 'cuda-bindings=={major(driver.cuda)}.*'",
        )


def _compiler(facts: Facts) -> Iterator[Finding]:
    driver = facts.driver
    if facts.nvcc and driver and newer(major(facts.nvcc), major(driver.cuda)):
        yield Finding(
            f"nvcc compiles for CUDA {facts.nvcc}, and the driver takes CUDA up to {driver.cuda}: "
            "a plugin library that is built here does not run here",
            f"{_UPDATE_DRIVER.format(cuda=facts.nvcc)}, or set CUDACXX to the nvcc of CUDA "
            f"{major(driver.cuda)}",
        )


def _cache(facts: Facts) -> Iterator[Finding]:
    if facts.cache.problem:
        yield Finding(
            f"engines cannot be kept: {facts.cache.problem}", facts.cache.remedy or "mend it"
        )
