"""What a build needs: what is missing is named, with what installs it."""

import platform
from pathlib import Path

import pytest
from simulated_toolchain import program

from nd_deploy.errors import InputError, MissingDependencyError
from nd_deploy.plugins import build_library, toolchain
from nd_deploy.plugins.build import BuildOptions


def test_everything_that_is_missing_is_named_with_what_installs_it(bare_machine):
    with pytest.raises(MissingDependencyError) as failure:
        build_library()
    for what, remedy in {
        "nvcc": "CUDA toolkit",
        "cmake": "pip install cmake",
        "ninja or make": "pip install ninja",
        "a C++ compiler": "apt-get install g++",
        "TensorRT's headers": "TENSORRT_INCLUDE_DIR",
    }.items():
        assert what in failure.value.problem
        assert remedy in failure.value.remedy


@pytest.mark.parametrize("missing", ["nvcc", "cmake", "ninja", "c++"])
def test_what_is_there_is_not_named(simulated, bare_machine, missing):
    simulated()
    (bare_machine / missing).unlink()
    with pytest.raises(MissingDependencyError) as failure:
        build_library()
    assert len(failure.value.remedy.splitlines()) == 1
    assert missing in failure.value.problem.replace("C++", "c++")


def test_nothing_is_written_where_something_is_missing(bare_machine, tmp_path):
    with pytest.raises(MissingDependencyError):
        build_library(tmp_path / "output")
    assert not (tmp_path / "output").exists()


def test_nvcc_is_found_off_the_path(simulated, bare_machine, tmp_path, monkeypatch):
    record = simulated()
    for variable, path in {
        "CUDA_HOME": tmp_path / "toolkit" / "bin" / "nvcc",
        "CUDACXX": tmp_path / "mine",
    }.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        (bare_machine / "nvcc").rename(path)
        monkeypatch.setenv(variable, str(tmp_path / "toolkit" if "HOME" in variable else path))
        build_library()
        assert f"-DCMAKE_CUDA_COMPILER={path}" in record()
        path.rename(bare_machine / "nvcc")


def test_headers_are_found_where_packages_put_them(simulated, tmp_path, monkeypatch):
    record = simulated()
    monkeypatch.delenv(toolchain.HEADERS_VARIABLE)
    folder = tmp_path / "no_headers" / f"{platform.machine()}-linux-gnu"
    folder.mkdir(parents=True)
    (folder / "NvInferRuntime.h").touch()
    build_library()
    assert f"-DTENSORRT_INCLUDE_DIR={folder}" in record()


def test_a_folder_without_headers_is_refused(simulated, tmp_path, monkeypatch):
    simulated()
    with pytest.raises(InputError, match=r"--headers is .*which does not hold NvInferRuntime\.h"):
        build_library(options=BuildOptions(headers=tmp_path))
    monkeypatch.setenv(toolchain.HEADERS_VARIABLE, str(tmp_path))
    with pytest.raises(InputError, match="TENSORRT_INCLUDE_DIR is"):
        build_library()


@pytest.mark.parametrize("version", ["3.17.5", "broken"])
def test_an_old_cmake_is_refused(simulated, version):
    simulated(version=version)
    with pytest.raises(InputError, match=r"has to be 3\.18 or newer"):
        build_library()


def test_options_reach_cmake(simulated, empty_headers, bare_machine):
    record = simulated()
    build_library(
        options=BuildOptions(headers=empty_headers, archs=("80", "120"), self_register=True)
    )
    assert {"-DND_ARCHS=80;120", "-DND_SELF_REGISTER=ON"} <= set(record())
    program(bare_machine, "git")
    build_library(options=BuildOptions(fetch_tag="v10.7.0"))
    assert {
        "-DND_FETCH_TENSORRT_HEADERS=ON",
        "-DND_TENSORRT_TAG=v10.7.0",
        "-DTENSORRT_INCLUDE_DIR=",
        "-DND_SELF_REGISTER=OFF",
    } <= set(record())


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (BuildOptions(archs=("sm_90",)), "--archs has sm_90"),
        (BuildOptions(headers=Path("a"), fetch_tag="v10.3.0"), "--headers and --fetch-headers"),
        (BuildOptions(fetch_tag="v10.3.0"), "needs git"),
    ],
)
def test_senseless_options_are_refused(simulated, options, told):
    simulated()
    with pytest.raises(InputError, match=told):
        build_library(options=options)
