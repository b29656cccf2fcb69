"""Where TensorRT's headers are, and libraries compiled against them for the CPU."""

from __future__ import annotations

import os
from pathlib import Path

import emulated
import pytest

HARNESS = Path(__file__).parent / "harness"


def tensorrt_headers() -> Path:
    """TensorRT's include folder; skips where there is none."""
    folder = os.environ.get("TENSORRT_INCLUDE_DIR")
    if not folder or not Path(folder, "NvInferRuntime.h").is_file():
        pytest.skip("set TENSORRT_INCLUDE_DIR to TensorRT's include folder")
    return Path(folder)


def built_for_the_cpu(tmp_path_factory, *sources: Path, flags=()) -> Path:
    """A library of C++ sources that see TensorRT's headers and the emulator's CUDA."""
    system_headers = ("-isystem", str(tensorrt_headers()))
    return emulated.build(tmp_path_factory, *sources, flags=(*system_headers, *flags))
