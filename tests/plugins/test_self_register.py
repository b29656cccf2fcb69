"""A library that registers its plugins by being loaded, against a stand-in for TensorRT."""

import os
import re
import subprocess
import sys

import pytest
from plugin_sources import HARNESS, built_for_the_cpu, tensorrt_headers

from nd_deploy.plugins.library import OPS

# Loads a TensorRT, if one is given, and then the library, each for itself or for everybody.
SCRIPT = """
import ctypes, sys
library, mode, *tensorrt = sys.argv[1:]
hosts = [ctypes.CDLL(path, getattr(ctypes, mode)) for path in tensorrt]
ctypes.CDLL(library)
for host in hosts:
    host.fake_noted.restype = ctypes.c_char_p
    print(host.fake_noted().decode(), end="")
"""
REGISTERED = sorted(f"nd_deploy::{op} 1" for op in OPS)


@pytest.fixture(scope="module")
def major():
    text = (tensorrt_headers() / "NvInferVersion.h").read_text()
    return int(re.search(r"(?:NV_TENSORRT_MAJOR|TRT_MAJOR_ENTERPRISE)\s+(\d+)", text)[1])


@pytest.fixture(scope="module")
def library(tmp_path_factory, emulated_library):
    # The launchers are those of the other library, which saves compiling them.
    flags = ["-O0", "-Wl,--no-as-needed", str(emulated_library)]
    sources = [HARNESS / "all_hosts.cpp", "self_register.cpp"]
    return built_for_the_cpu(tmp_path_factory, *sources, flags=flags)


@pytest.fixture(scope="module")
def tensorrt(tmp_path_factory):
    def build(name):
        flags = [f"-Wl,-soname,{name}", "-Wno-deprecated-declarations"]
        return built_for_the_cpu(tmp_path_factory, HARNESS / "fake_tensorrt.cpp", flags=flags)

    return build


def load(library, mode, *tensorrt, says=0):
    command = [sys.executable, "-c", SCRIPT, str(library), mode, *map(str, tensorrt)]
    environment = os.environ | {"FAKE_MAJOR": str(says)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return sorted(done.stdout.splitlines()), done.stderr


def test_plugins_go_to_the_tensorrt_that_the_host_loaded_for_itself(library, tensorrt, major):
    host = tensorrt(f"libnvinfer.so.{major}")
    assert load(library, "RTLD_LOCAL", host, says=major) == (REGISTERED, "")


def test_plugins_go_to_a_tensorrt_of_any_name_that_everybody_sees(library, tensorrt, major):
    host = tensorrt("libnvinfer_builtin.so")
    assert load(library, "RTLD_GLOBAL", host, says=major) == (REGISTERED, "")


@pytest.mark.parametrize("difference", [-1, 1])
def test_a_tensorrt_of_another_major_version_is_left_alone(library, tensorrt, major, difference):
    host = tensorrt("libnvinfer_builtin.so")
    registered, told = load(library, "RTLD_GLOBAL", host, says=major + difference)
    assert registered == []
    assert (
        f"has TensorRT {major + difference} and the library is built for TensorRT {major}" in told
    )


def test_without_tensorrt_the_library_loads_and_says_what_is_missing(library, major):
    registered, told = load(library, "RTLD_LOCAL")
    assert registered == []
    assert f"TensorRT {major}, which this library is built for, is not loaded" in told
