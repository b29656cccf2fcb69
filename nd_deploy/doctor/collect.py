"""Collects the facts, with everything that may hang or crash in processes of their own."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import sys
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nd_deploy
from nd_deploy import compat
from nd_deploy.compat import trt
from nd_deploy.compat.jetson import jetson_release
from nd_deploy.doctor.children import ask, lines_of
from nd_deploy.doctor.facts import Driver, Facts, Gpu, OnnxRuntime, TensorRt
from nd_deploy.doctor.folders import engine_cache, plugin_libraries, why_no_plugin_build
from nd_deploy.runtime.ort.names import CPU, CUDA, TENSORRT

_PACKAGES = (
    "nd-deploy",
    "cuda-bindings",
    "matplotlib",
    "numpy",
    "nvidia-cudnn-cu12",
    "nvidia-cudnn-cu13",
    "onnx",
    "onnx-graphsurgeon",
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxscript",
    "pillow",
    "safetensors",
    "scikit-learn",
    "tensorrt",
    "tensorrt-cu12",
    "tensorrt-cu13",
    "tensorrt-rtx",
    "torch",
)
_QUERY = "--query-gpu=name,compute_cap,memory.total,driver_version"
_DRIVER = Path("/sys/module/nvidia/version")
_JETSON = Path("/etc/nv_tegra_release")
_WAITING = 8


def collect() -> Facts:
    """Look at everything that nd-deploy may use."""
    packages = _packages()
    # They wait for processes, and need no processor themselves.
    with ThreadPoolExecutor(_WAITING) as pool:
        smi = pool.submit(_smi)
        nvcc = pool.submit(_nvcc)
        driver = pool.submit(ask, "driver")
        through = pool.submit(ask, "packages")
        modules = {
            name: pool.submit(ask, "tensorrt", name) if name in trt.installed() else None
            for name in (trt.TENSORRT, trt.RTX)
        }
        sessions = {
            provider: pool.submit(ask, "onnxruntime", provider) for provider in _worth_trying()
        }
        plugins = pool.submit(plugin_libraries)
        listed, version = smi.result()
        told = driver.result()
        return Facts(
            python=f"{platform.python_version()} ({sys.executable})",
            platform=platform.platform(),
            machine=platform.machine(),
            processors=os.cpu_count() or 1,
            telemetry_off=os.environ.get("ORT_DISABLE_TELEMETRY") == "1",
            packages=packages,
            gpus=tuple(Gpu(*fields) for fields in told.get("gpus", ())) or listed,
            driver=_driver(version, told),
            nvcc=nvcc.result(),
            build_tools=why_no_plugin_build(),
            cudnn=through.result().get("cudnn"),
            cuda_package=through.result().get("cuda_package"),
            onnxruntime=_onnxruntime(sessions),
            tensorrt=_tensorrt(modules[trt.TENSORRT]),
            tensorrt_rtx=_tensorrt(modules[trt.RTX]),
            plugins=plugins.result(),
            cache=engine_cache(),
            jetson=jetson_release(_JETSON),
            conflict=compat.onnxruntime_conflict(),
        )


def _packages() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return {"nd-deploy": nd_deploy.__version__} | found


def _worth_trying() -> tuple[str, ...]:
    """The providers that this ONNX Runtime may have, without importing it."""
    spec = importlib.util.find_spec("onnxruntime")
    if spec is None:
        return ()
    # ONNX Runtime names providers whose libraries are missing, so that files tell more than it.
    libraries = [
        path.name
        for folder in spec.submodule_search_locations or ()
        for path in Path(folder, "capi").glob("*onnxruntime_providers_*")
    ]
    kinds = {CUDA: "providers_cuda", TENSORRT: "providers_tensorrt"}
    return (CPU, *(p for p, part in kinds.items() if any(part in name for name in libraries)))


def _smi() -> tuple[tuple[Gpu, ...], str | None]:
    """What nvidia-smi lists, and the driver's version."""
    rows = [line.split(", ") for line in lines_of(["nvidia-smi", _QUERY, "--format=csv,noheader"])]
    whole = [row for row in rows if len(row) == _QUERY.count(",") + 1]
    gpus = tuple(Gpu(name, capability, memory) for name, capability, memory, _ in whole)
    return gpus, whole[0][-1] if whole else None


def _nvcc() -> str | None:
    said = next((line for line in lines_of(["nvcc", "--version"]) if "release" in line), "")
    found = re.search(r"release ([\d.]+)", said)
    return found[1] if found else None


def _driver(version: str | None, told: Mapping[str, Any]) -> Driver | None:
    if version is None and _DRIVER.is_file():
        version = _DRIVER.read_text(encoding="utf-8").strip() or None
    if version is None and told.get("cuda") is None:
        return None
    return Driver(version, told.get("cuda"), told.get("problem"))


def _onnxruntime(sessions: Mapping[str, Future[dict[str, Any]]]) -> OnnxRuntime | None:
    answers = {provider: asked.result() for provider, asked in sessions.items()}
    if not answers:
        return None
    known = next((a for a in answers.values() if a.get("version")), answers[CPU])
    # A process that ended before its answer says so in place of it.
    runs = {p: a["run"] if "run" in a else a.get("problem") for p, a in answers.items()}
    return OnnxRuntime(
        version=known.get("version"),
        cuda=known.get("cuda"),
        problem=None if known.get("version") else known.get("problem"),
        runs=runs,
        needs={p: tuple(a.get("needs", ())) for p, a in answers.items()},
        missing={p: tuple(a.get("missing", ())) for p, a in answers.items()},
    )


def _tensorrt(asked: Future[dict[str, Any]] | None) -> TensorRt | None:
    if asked is None:
        return None
    answer = asked.result()
    return TensorRt(
        answer.get("version"),
        answer.get("problem"),
        answer.get("precedence"),
        tuple(answer.get("compute_capabilities", ())),
    )
