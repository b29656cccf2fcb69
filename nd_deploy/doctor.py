"""What is installed here, what each part of the tool can do with it, and what would mend the rest.

Nothing is believed from a list: ONNX Runtime names providers whose libraries are missing, so each
one is tried on a model of a single node.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import nd_deploy
from nd_deploy import compat
from nd_deploy.errors import NdDeployError

_PACKAGES = (
    "nd-deploy",
    "numpy",
    "onnx",
    "onnx-graphsurgeon",
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxscript",
    "pillow",
    "safetensors",
    "scikit-learn",
    "torch",
)
# Both wheels own the module onnxruntime, so that the one for the CPU has to go first.
_GPU = "pip uninstall -y onnxruntime && pip install 'nd-deploy[gpu]'"
_NO_GPU = "a machine with an NVIDIA GPU and its driver"
_PROVIDERS = {
    "run on the CPU": ("CPUExecutionProvider", "pip install 'nd-deploy[cpu]'"),
    "run on CUDA": ("CUDAExecutionProvider", _GPU),
    "run on TensorRT": ("TensorrtExecutionProvider", f"{_GPU} 'tensorrt-cu13<11'"),
}
_ONE_NODE = """
<ir_version: 8, opset_import: ["": 17]>
one (float[1] x) => (float[1] y) { y = Relu (x) }
"""
# A driver that hangs must not hang the doctor.
_PATIENCE_S = 20


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


@dataclass(frozen=True)
class Diagnosis:
    """What was found.

    Attributes:
        environment: facts, by what they are about.
        packages: installed versions, by distribution.
        gpus: what nvidia-smi says of each.
        capabilities: what works.
        conflict: what breaks the environment as a whole, and the command that ends it.
    """

    environment: dict[str, str]
    packages: dict[str, str]
    gpus: tuple[str, ...]
    capabilities: tuple[Capability, ...]
    conflict: str | None

    def as_dict(self) -> dict[str, Any]:
        """The diagnosis as JSON-ready fields."""
        return asdict(self)


def examine() -> Diagnosis:
    """Look at everything that nd-deploy may use."""
    packages, gpus = _packages(), _gpus()
    return Diagnosis(
        environment={
            "python": f"{platform.python_version()} ({sys.executable})",
            "platform": platform.platform(),
            "processors": str(os.cpu_count()),
            "telemetry": _telemetry(),
            "nvcc": _first_line(["nvcc", "--version"], having="release") or "not found",
            "TensorRT": _version_of_module("tensorrt"),
            "TensorRT-RTX": _version_of_module("tensorrt_rtx"),
        },
        packages=packages,
        gpus=gpus,
        capabilities=(
            _needs("convert", packages, ("torch", "onnxscript"), "export"),
            _needs("read safetensors checkpoints", packages, ("safetensors",), "export"),
            *(
                _provider(name, provider, remedy if gpus or "CPU" in provider else _NO_GPU)
                for name, (provider, remedy) in _PROVIDERS.items()
            ),
            _needs("read images", packages, ("pillow",), "images"),
            _needs("run the demo", packages, ("torch", "scikit-learn", "pillow"), "demo"),
        ),
        conflict=compat.onnxruntime_conflict(),
    )


def _packages() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return {"nd-deploy": nd_deploy.__version__} | found


def _telemetry() -> str:
    if os.environ.get("ORT_DISABLE_TELEMETRY") == "1":
        return "ONNX Runtime's is off"
    return "ONNX Runtime's is on: ORT_DISABLE_TELEMETRY is not 1"


def _needs(name: str, packages: dict[str, str], needed: Sequence[str], extra: str) -> Capability:
    missing = [package for package in needed if package not in packages]
    if missing:
        return Capability(
            name,
            False,
            f"{', '.join(missing)} is not installed",
            f"pip install 'nd-deploy[{extra}]'",
        )
    return Capability(name, True, ", ".join(f"{p} {packages[p]}" for p in needed))


def _provider(name: str, provider: str, remedy: str) -> Capability:
    import numpy as np
    from onnx import parser

    from nd_deploy.runtime.onnxruntime import OnnxRuntimeRunner

    try:
        runner = OnnxRuntimeRunner(parser.parse_model(_ONE_NODE), providers=(provider,))
        runner.run({"x": np.ones(1, np.float32)})
    except NdDeployError as error:
        return Capability(name, False, error.problem, remedy)
    return Capability(name, True, f"onnxruntime {runner.receipt.version}, {provider}")


def _version_of_module(module: str) -> str:
    # Jetson's comes with the system and not with pip, so that only importing it tells.
    if importlib.util.find_spec(module) is None:
        return "not installed"
    try:
        return str(importlib.import_module(module).__version__)
    except Exception as error:  # a library that does not load raises nearly anything
        return f"installed, but broken: {error}"


def _gpus() -> tuple[str, ...]:
    query = "--query-gpu=name,memory.total,driver_version,compute_cap"
    return tuple(_lines(["nvidia-smi", query, "--format=csv,noheader"]))


def _first_line(command: list[str], having: str) -> str | None:
    return next((line for line in _lines(command) if having in line), None)


def _lines(command: list[str]) -> list[str]:
    """What a program prints; nothing if it is absent or fails."""
    if shutil.which(command[0]) is None:
        return []
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_PATIENCE_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]
