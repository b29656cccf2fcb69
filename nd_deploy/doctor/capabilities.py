"""What nd-deploy can do in an environment, and what would make it do the rest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nd_deploy.doctor.facts import Facts, TensorRt
from nd_deploy.doctor.judge import runs_on_rtx
from nd_deploy.runtime.options import ORT_CPU, ORT_CUDA, ORT_TENSORRT
from nd_deploy.runtime.ort.libraries import remedy
from nd_deploy.runtime.ort.names import CPU, CUDA, TENSORRT

NO_GPU = "a machine with an NVIDIA GPU and its driver"

# Both wheels own the module onnxruntime, so that the one for the CPU has to go first.
_ORT_GPU = "pip uninstall -y onnxruntime && pip install 'nd-deploy[gpu]'"
_ON_JETSON = (
    "the package index has no onnxruntime-gpu for aarch64: install NVIDIA's wheel for this "
    "JetPack, or run on TensorRT (--runtime tensorrt)"
)
_PROVIDERS = {ORT_CPU: CPU, ORT_CUDA: CUDA, ORT_TENSORRT: TENSORRT}
_PIP = {"tensorrt": "pip install 'nd-deploy[tensorrt]'", "rtx": "pip install 'nd-deploy[rtx]'"}


@dataclass(frozen=True)
class Capability:
    """Something that nd-deploy does, if its surroundings allow.

    Attributes:
        name: what.
        available: whether it works here.
        reason: what was found.
        remedy: what would make it work; None if it does.
    """

    name: str
    available: bool
    reason: str
    remedy: str | None = None


def capabilities(facts: Facts) -> tuple[Capability, ...]:
    """What works.

    Args:
        facts: of an environment.
    """
    return (
        _needs(facts, "convert", ("torch", "onnxscript"), "export"),
        _needs(facts, "read safetensors checkpoints", ("safetensors",), "export"),
        *_on_onnxruntime(facts),
        *_on_tensorrt(facts),
        *_on_rtx(facts),
        _plugin_build(facts),
        _needs(facts, "read images", ("pillow",), "images"),
        _needs(facts, "draw with explain", ("matplotlib", "pillow"), "explain"),
        _needs(facts, "run the demo", ("torch", "scikit-learn", "pillow"), "demo"),
    )


def _needs(facts: Facts, name: str, needed: Sequence[str], extra: str) -> Capability:
    missing = [package for package in needed if package not in facts.packages]
    if missing:
        reason = f"{', '.join(missing)} is not installed"
        return Capability(name, False, reason, f"pip install 'nd-deploy[{extra}]'")
    return Capability(name, True, ", ".join(f"{p} {facts.packages[p]}" for p in needed))


def _on_onnxruntime(facts: Facts) -> Iterator[Capability]:
    module = facts.onnxruntime
    for runtime, provider in _PROVIDERS.items():
        name = f"run on {runtime}"
        if module is None:
            yield Capability(name, False, "onnxruntime is not installed", _remedy(facts, runtime))
        elif module.version is None:
            yield Capability(name, False, str(module.problem), _remedy(facts, runtime))
        elif provider not in module.runs:
            reason = f"onnxruntime {module.version} is a build without {provider}"
            yield Capability(name, False, reason, _remedy(facts, runtime))
        elif module.runs[provider] is not None:
            yield Capability(name, False, str(module.runs[provider]), _remedy(facts, runtime))
        else:
            yield Capability(name, True, f"onnxruntime {module.version}, {provider}")


def _remedy(facts: Facts, runtime: str) -> str:
    if runtime == ORT_CPU:
        return "pip install 'nd-deploy[cpu]'"
    if not facts.gpus:
        return NO_GPU
    if facts.jetson:
        return _ON_JETSON
    module = facts.onnxruntime
    if module is None or module.cuda is None:
        return _ORT_GPU
    missing = module.missing.get(_PROVIDERS[runtime], ())
    if missing:
        return remedy(missing, module.cuda)
    return "check that the driver is one for this CUDA, with nvidia-smi"


def _on_tensorrt(facts: Facts) -> Iterator[Capability]:
    name, install = "build and run on tensorrt", _PIP["tensorrt"]
    if facts.jetson:
        install = "sudo apt-get install tensorrt python3-libnvinfer, and use the system's Python"
    if not facts.gpus:
        install = NO_GPU
    blocked = _absent(facts.tensorrt, "tensorrt", install)
    if blocked:
        yield Capability(name, False, *blocked)
        return
    reason = f"tensorrt {facts.tensorrt.version if facts.tensorrt else ''}"
    lacking = _lacking_for_runs(facts)
    yield Capability(name, not lacking, *(lacking or (f"{reason}, {facts.gpus[0].name}",)))


def _on_rtx(facts: Facts) -> Iterator[Capability]:
    module = facts.tensorrt_rtx
    building, running = "build for tensorrt-rtx", "run on tensorrt-rtx"
    blocked = _absent(module, "tensorrt_rtx", _PIP["rtx"])
    if blocked or module is None:
        for name in (building, running):
            yield Capability(name, False, *(blocked or ()))
        return
    title = f"tensorrt_rtx {module.version}"
    yield Capability(building, True, f"{title}; no GPU is needed")
    lacking = _lacking_for_runs(facts)
    strangers = [gpu for gpu in facts.gpus if not runs_on_rtx(gpu, module)]
    if lacking:
        yield Capability(running, False, *lacking)
    elif strangers:
        gpu = strangers[0]
        reason = f"{title} does not run on {gpu.name} (compute capability {gpu.compute_capability})"
        yield Capability(running, False, reason, _PIP["tensorrt"])
    else:
        yield Capability(running, True, f"{title}, {facts.gpus[0].name}")


def _absent(module: TensorRt | None, name: str, install: str) -> tuple[str, str] | None:
    if module is None:
        return f"{name} is not installed", install
    if module.version is None:
        return f"{name} is installed, but broken: {module.problem}", install
    return None


def _lacking_for_runs(facts: Facts) -> tuple[str, str] | None:
    """What running an engine lacks besides TensorRT, and the remedy."""
    if not facts.gpus:
        return "there is no GPU here", NO_GPU
    if facts.driver and facts.driver.problem:
        return facts.driver.problem, "make nvidia-smi and the driver agree; see below"
    if facts.cuda_package is None:
        version = facts.driver.cuda if facts.driver else None
        pin = f"=={version.split('.')[0]}.*" if version else ""
        return (
            "neither cuda-bindings nor a PyTorch for CUDA is installed",
            f"pip install 'cuda-bindings{pin}'",
        )
    return None


def _plugin_build(facts: Facts) -> Capability:
    name = "build the plugin library"
    if facts.build_tools is not None:
        return Capability(name, False, *facts.build_tools)
    return Capability(name, True, f"nvcc {facts.nvcc or ''}".strip())
