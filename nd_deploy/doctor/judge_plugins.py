"""Whether a plugin library fits the GPU, the driver and the TensorRT that are to load it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from nd_deploy.doctor.facts import Facts, Gpu, Plugin
from nd_deploy.doctor.versions import major, newer

_BUILD = "nd-deploy plugin build"


def plugin_findings(facts: Facts) -> Iterator[tuple[str, str]]:
    """What is wrong with each library, and the remedy."""
    for plugin in facts.plugins:
        if plugin.problem:
            yield f"the plugin library {plugin.path}: {plugin.problem}", plugin.remedy or _BUILD
            continue
        yield from _against_gpus(facts, plugin)
        yield from _against_driver(facts, plugin)
        yield from _against_tensorrt(facts, plugin)


def runs_on(plugin: Plugin, gpu: Gpu) -> bool:
    """Whether a library has code for a GPU: of its generation, or such as the driver compiles.

    Args:
        plugin: a library of which the code is known.
        gpu: the GPU.
    """
    wanted = _number(gpu.compute_capability.replace(".", ""))
    ready = any(
        _number(arch) // 10 == wanted // 10 and _number(arch) <= wanted for arch in plugin.archs
    )
    return ready or (plugin.ptx is not None and 0 < _number(plugin.ptx) <= wanted)


def _against_gpus(facts: Facts, plugin: Plugin) -> Iterator[tuple[str, str]]:
    if not plugin.archs:
        return  # somebody else's, of which nothing is known
    for gpu in facts.gpus:
        if not runs_on(plugin, gpu):
            arch = gpu.compute_capability.replace(".", "")
            yield (
                f"the plugin library {plugin.path} has code for {', '.join(plugin.archs)}, and "
                f"none for {gpu.name} ({arch})",
                f"build it for that GPU: {_flags(plugin)} --archs {arch}",
            )


def _against_driver(facts: Facts, plugin: Plugin) -> Iterator[tuple[str, str]]:
    driver = facts.driver
    if driver and newer(major(plugin.nvcc), major(driver.cuda)):
        yield (
            f"the plugin library {plugin.path} is built with CUDA {plugin.nvcc}, and the driver "
            f"takes CUDA up to {driver.cuda}",
            f"build it with the nvcc of CUDA {major(driver.cuda)}: CUDACXX=... {_flags(plugin)}",
        )


def _against_tensorrt(facts: Facts, plugin: Plugin) -> Iterator[tuple[str, str]]:
    if plugin.self_register:
        needs = facts.onnxruntime.needs if facts.onnxruntime else {}
        linked = (re.fullmatch(r"libnvinfer\.so\.(\d+)", n) for ns in needs.values() for n in ns)
        wanted = next((match[1] for match in linked if match), None)
        if wanted and plugin.headers and major(plugin.headers) != wanted:
            yield (
                f"the plugin library {plugin.path} registers with TensorRT {plugin.headers}, and "
                f"ONNX Runtime's provider has TensorRT {wanted}",
                f"build it with the headers of TensorRT {wanted}: {_BUILD} --self-register "
                "--headers FOLDER",
            )
        return
    tensorrt = facts.tensorrt
    if tensorrt and tensorrt.precedence == "BODY":
        yield (
            f"TensorRT {tensorrt.version} takes function bodies and leaves plugins aside, so that "
            f"{plugin.path} is of use only for models without bodies",
            "nd-deploy convert --target 'tensorrt<=10.6' --whitening plugin",
        )


def _flags(plugin: Plugin) -> str:
    return f"{_BUILD} --self-register" if plugin.self_register else _BUILD


def _number(text: str) -> int:
    digits = re.match(r"\d+", text)
    return int(digits[0]) if digits else 0
