"""Looks at one thing that may hang or end the process that looks at it.

Run as `python -m nd_deploy.doctor.probe NAME ...`; prints one JSON object as its last line.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nd_deploy import compat
from nd_deploy.errors import NdDeployError

Answer = dict[str, Any]

# A convolution, for which the CUDA provider loads cuDNN.
_ONE_NODE = """
<ir_version: 8, opset_import: ["": 17]>
one (float[1, 1, 2, 2] x) => (float[1, 1, 2, 2] y)
    <float[1, 1, 1, 1] w = {2.0}> { y = Conv (x, w) }
"""
_CUDNN = ("libcudnn.so.9", "libcudnn.so")


def onnxruntime(provider: str) -> Answer:
    """What the module is, and whether a model of one node runs on a provider."""
    import numpy as np
    from onnx import parser

    from nd_deploy.compat import ort
    from nd_deploy.runtime.onnxruntime import OnnxRuntimeRunner
    from nd_deploy.runtime.ort.libraries import load, needed_libraries

    try:
        version = compat.onnxruntime().__version__
    except NdDeployError as error:
        return {"version": None, "problem": error.problem}
    needed = needed_libraries(provider)
    if needed:
        compat.preload_cuda()
    answer = {
        "version": version,
        "cuda": ort.cuda_of_build(),
        "needs": needed,
        "missing": [name for name in needed if not load(name)],
        "run": None,
    }
    try:
        runner = OnnxRuntimeRunner(parser.parse_model(_ONE_NODE), providers=(provider,))
        y = runner.run({"x": np.ones((1, 1, 2, 2), np.float32)})["y"]
    except NdDeployError as error:
        answer["run"] = error.problem
    else:
        if not (y == 2).all():
            answer["run"] = f"it computes {y.ravel()[0]:g} instead of 2"
    return answer


def tensorrt(name: str) -> Answer:
    """What a module of TensorRT is."""
    from nd_deploy.compat import trt

    try:
        module = trt.load(name)
    except NdDeployError as error:
        return {"version": None, "problem": error.problem}
    return {
        "version": str(module.__version__),
        "precedence": trt.precedence(module).name,
        "compute_capabilities": list(trt.compute_capabilities(module)),
    }


def driver() -> Answer:
    """What NVIDIA's driver tells of itself and of the GPUs."""
    from nd_deploy.bundle.files import readable_size
    from nd_deploy.compat import cuda_driver

    answer: Answer = {"cuda": None, "gpus": [], "problem": None}
    try:
        answer["cuda"] = cuda_driver.version()
        answer["gpus"] = [
            [gpu.name, gpu.compute_capability, readable_size(gpu.memory)]
            for gpu in cuda_driver.gpus()
        ]
    except NdDeployError as error:
        answer["problem"] = error.problem
    return answer


def packages() -> Answer:
    """What CUDA is called through, and the version of cuDNN."""
    from nd_deploy.compat import cuda

    try:
        through = cuda.find().name
    except NdDeployError:
        through = None
    return {"cuda_package": through, "cudnn": _cudnn()}


def _cudnn() -> str | None:
    spec = importlib.util.find_spec("nvidia")
    folders = (spec and spec.submodule_search_locations) or ()
    wheels = [str(Path(folder) / "cudnn" / "lib" / _CUDNN[0]) for folder in folders]
    for name in (*_CUDNN, *wheels):
        try:
            ask = ctypes.CDLL(name).cudnnGetVersion
        except (OSError, AttributeError):
            continue
        ask.restype = ctypes.c_size_t
        number = ask()
        return f"{number // 10000}.{number // 100 % 100}.{number % 100}"
    return None


_PROBES: dict[str, Callable[..., Answer]] = {
    "onnxruntime": onnxruntime,
    "tensorrt": tensorrt,
    "driver": driver,
    "packages": packages,
}


def main() -> None:
    """Look at what the command line names."""
    name, *arguments = sys.argv[1:]
    # Libraries print on stdout as they like; the answer goes where stdout was.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    print(json.dumps(_PROBES[name](*arguments)), file=answers, flush=True)


if __name__ == "__main__":
    main()
