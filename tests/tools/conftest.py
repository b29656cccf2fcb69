"""Lets tests import the tools, and builds the plugins' kernels for the CPU."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tests" / "plugins")]


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    """The plugin library's kernels, built for the CPU."""
    import emulated
    from gpu.library import Library
    from kernel_calls import SOURCES

    return Library(emulated.build(tmp_path_factory, *SOURCES))
