"""Lets tests import the tools, and builds the plugins' kernels for the CPU."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tests" / "plugins")]

SOURCES = (
    "channel_deconv.cu",
    "channel_deconv_dynamic.cu",
    "fast_deconv_dynamic.cu",
    "errors.cpp",
)


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    """The plugin library's kernels, built for the CPU."""
    import emulated
    from gpu.library import Library

    return Library(emulated.build(tmp_path_factory, *SOURCES))
