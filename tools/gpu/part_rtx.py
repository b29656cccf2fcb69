"""Whether TensorRT-RTX, which is for the GPUs of workstations, takes this GPU."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx

from gpu.device import require_cuda
from gpu.models import KINDS, deployed, inputs, make
from gpu.parts import FAILED, OK, CannotRun, Row, Settings, require_right
from gpu.runtimes import expected_to_refuse, options, unavailable
from nd_deploy.compat import trt
from nd_deploy.errors import NdDeployError
from nd_deploy.runtime.choose import open_runner
from nd_deploy.runtime.options import TENSORRT_RTX
from nd_deploy.runtime.reference import ReferenceRunner

_KIND = "1x1 convolution"
_BATCH = 2
_LIMIT = 1e-4


def run(settings: Settings) -> list[Row]:
    """One row: whether it lists this GPU, and whether an engine ran.

    A refusal is a failure only of a GPU that it lists.
    """
    torch = require_cuda()
    missing = unavailable(TENSORRT_RTX)
    if missing:
        raise CannotRun(missing)
    listed = not expected_to_refuse(TENSORRT_RTX)
    says = try_an_engine(settings)
    row = {
        "GPU": torch.cuda.get_device_name(),
        "TensorRT-RTX": str(trt.load(trt.RTX).__version__),
        "lists it": "yes" if listed else "no",
        "runs on it": "no" if says else "yes",
        "says": says,
        "status": FAILED if says and listed else OK,
        "reason": says,
    }
    require_right([row], lambda row: str(row["GPU"]))
    return [row]


def try_an_engine(settings: Settings) -> str:
    """What goes wrong with a small engine; "" if it runs and is right."""
    kind, feeds = KINDS[_KIND], inputs(_BATCH)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        onnx.save(deployed(kind, "float32"), file)
        try:
            runner = open_runner(file, TENSORRT_RTX, options(TENSORRT_RTX, False, settings, _BATCH))
            y = runner.run(feeds)["y"]
        except NdDeployError as error:
            return error.problem
    truth = ReferenceRunner(make(kind)).run(feeds)["y"]
    error_found = float(np.abs(y - truth).max() / np.abs(truth).max())
    return "" if error_found <= _LIMIT else f"it runs, but is off by {error_found:.1e}"
