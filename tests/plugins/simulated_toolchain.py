"""A machine on which programs are missing, or pretend to compile."""

import os
import sys

import pytest
from small_libraries import compile_library, plugin_source

from nd_deploy.plugins import library, toolchain

# Stands in for cmake: configures by saying what it would have chosen, and builds by copying.
CMAKE = """#!{python}
import pathlib, shutil, sys
arguments = sys.argv[1:]
if arguments == ["--version"]:
    print("cmake version {version}")
elif arguments[0] == "-S":
    pathlib.Path(arguments[3], "configured").write_text("\\n".join(arguments))
    shutil.copy(pathlib.Path(arguments[3], "configured"), {record!r})
    print("-- ND_ARCHS=80;90\\n-- ND_NVCC=12.6.1\\n-- ND_HEADERS_VERSION=10.3.0")
elif {fails}:
    print("[1/2] compiling errors.cpp")
    print("some.cu(3): error: identifier is undefined\\nand why")
    sys.exit(1)
else:
    shutil.copy({built!r}, pathlib.Path(arguments[1], "libnd_deploy_plugin.so"))
"""


def program(folder, name, text="#!/bin/sh\n"):
    path = folder / name
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def bare_machine(tmp_path, monkeypatch):
    """A machine with nothing on it; returns the folder that is its PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    for name in ("CUDACXX", "CUDA_HOME", "CUDA_PATH", "CXX", toolchain.HEADERS_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(toolchain, "_TOOLKIT", tmp_path / "no_toolkit")
    monkeypatch.setattr(toolchain, "_SYSTEM_HEADERS", tmp_path / "no_headers")
    return folder


@pytest.fixture
def empty_headers(tmp_path):
    folder = tmp_path / "include"
    folder.mkdir()
    (folder / "NvInferRuntime.h").touch()
    return folder


@pytest.fixture
def simulated(bare_machine, tmp_path, empty_headers, monkeypatch):
    """A machine that pretends to compile; returns a function that says how that goes."""
    monkeypatch.setenv("ND_DEPLOY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv(toolchain.HEADERS_VARIABLE, str(empty_headers))
    monkeypatch.delenv(library.ENVIRONMENT, raising=False)
    for name in ("nvcc", "ninja", "c++"):
        program(bare_machine, name)

    def prepare(fails=False, source=None, version="3.25.1"):
        with monkeypatch.context() as patch:
            patch.setenv("PATH", os.defpath)
            built = compile_library(tmp_path, source or plugin_source(), "built.so")
        text = CMAKE.format(
            python=sys.executable,
            record=str(tmp_path / "record"),
            fails=fails,
            built=str(built),
            version=version,
        )
        program(bare_machine, "cmake", text)
        return lambda: (tmp_path / "record").read_text().splitlines()

    return prepare
