"""What this machine has for the other parts: its GPU, its compiler, its runtimes."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator

from gpu.device import HEADERS_VARIABLE, TORCH, find_nvcc, nvcc_version, require_cuda
from gpu.parts import CannotRun, Row, Settings
from gpu.rooflines import peaks_of

_ABSENT = "not there"


def run(settings: Settings) -> list[Row]:
    """One row a thing: what it is, or that it is not there.

    Raises:
        CannotRun: PyTorch has no GPU, or cannot use it.
    """
    torch = require_cuda()
    try:
        torch.zeros(1, device="cuda").cpu()
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise CannotRun(f"PyTorch cannot use the GPU ({reason}): {TORCH}") from error
    found = torch.cuda.get_device_properties(0)
    peaks = peaks_of(found.name)
    rows = {
        "GPU": f"{found.name}, compute capability {found.major}.{found.minor}, "
        f"{found.multi_processor_count} multiprocessors, {found.total_memory / 1e9:.0f} GB",
        "peaks for the rooflines": "not known, so that there are none"
        if peaks is None
        else f"{peaks.bytes_per_s / 1e12:.2f} TB/s, float32 {peaks.fp32 / 1e12:.0f} and TF32 "
        f"{peaks.tf32 / 1e12:.0f} TFLOP/s",
        "PyTorch": f"{torch.__version__}, CUDA {torch.version.cuda}, "
        f"cuDNN {torch.backends.cudnn.version()}",
        "nvcc": f"{nvcc_version()}" if find_nvcc() else _ABSENT,
        "TensorRT's headers": "named"
        if settings.headers or os.environ.get(HEADERS_VARIABLE)
        else f"not named by --headers or {HEADERS_VARIABLE}",
        "compute-sanitizer": "there" if shutil.which("compute-sanitizer") else _ABSENT,
        "pytest": "there" if importlib.util.find_spec("pytest") else _ABSENT,
    }
    rows |= dict(_runtimes())
    return [{"what": what, "is": text} for what, text in rows.items()]


def _runtimes() -> Iterator[tuple[str, str]]:
    try:
        from gpu.runtimes import RUNTIMES, unavailable
    except ImportError as error:
        yield "runtimes", f"cannot be looked at: {error}"
        return
    for runtime in RUNTIMES:
        yield runtime, unavailable(runtime) or "there"
