"""With providers whose files are small ELF files made here."""

import ctypes

import onnxruntime
import pytest
from elf_file import elf_file

from nd_deploy.errors import BackendError
from nd_deploy.runtime.ort import libraries

TENSORRT = "TensorrtExecutionProvider"
NEEDED = ("libcublas.so.13", "libnvinfer.so.10", "libcudnn.so.9", "libstdc++.so.6", "libc.so.6")


@pytest.fixture
def provider(tmp_path, monkeypatch):
    """An ONNX Runtime whose TensorRT provider has a file."""
    capi = tmp_path / "capi"
    capi.mkdir()
    (capi / "libonnxruntime_providers_tensorrt.so").write_bytes(elf_file(needed=NEEDED))
    monkeypatch.setattr(onnxruntime, "__file__", str(tmp_path / "__init__.py"))
    monkeypatch.setattr(onnxruntime, "cuda_version", "13.0", raising=False)
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None, raising=False)
    return capi


@pytest.fixture
def loadable(monkeypatch):
    """Let the loader find these alone; returns what it was asked for."""

    def only(*names):
        asked = []

        def load(name, *_, **__):
            asked.append(name)
            if name not in names:
                raise OSError(f"{name}: cannot open shared object file")
            return fake

        fake = type("Library", (), {"getInferLibVersion": staticmethod(lambda: 101601)})
        monkeypatch.setattr(ctypes, "CDLL", load)
        return asked

    return only


def test_only_nvidias_libraries_are_looked_for(provider):
    assert libraries.needed_libraries(TENSORRT) == NEEDED[:3]


def test_a_provider_that_is_part_of_onnxruntime_needs_nothing(provider):
    assert libraries.needed_libraries("CPUExecutionProvider") == ()
    libraries.require_libraries("CPUExecutionProvider")


def test_what_is_missing_is_named_with_what_installs_it(provider, loadable):
    loadable("libcublas.so.13")
    with pytest.raises(BackendError) as caught:
        libraries.require_libraries(TENSORRT)
    assert "needs libnvinfer.so.10, libcudnn.so.9, which are not" in caught.value.problem
    assert caught.value.remedy.splitlines() == [
        "pip install 'tensorrt-cu13>=10,<11'",
        "pip install 'onnxruntime-gpu[cuda,cudnn]'",
    ]


def test_nothing_is_said_where_all_is_there(provider, loadable):
    loadable(*NEEDED)
    libraries.require_libraries(TENSORRT)
    assert libraries.tensorrt_version() == "10.16.1"
    assert libraries.tensorrt_major() == "10"


def test_tensorrts_wheels_are_looked_into(provider, loadable, tmp_path, monkeypatch):
    wheel = tmp_path / "site" / "tensorrt_libs"
    wheel.mkdir(parents=True)
    (wheel / "__init__.py").touch()
    (wheel / "libnvinfer.so.10").touch()
    monkeypatch.syspath_prepend(wheel.parent)
    loadable("libcublas.so.13", "libcudnn.so.9", str(wheel / "libnvinfer.so.10"))
    libraries.require_libraries(TENSORRT)


def test_the_driver_is_not_installed_by_pip():
    said = libraries.remedy(["libcuda.so.1", "libcurand.so.10"], "13.0")
    assert said.splitlines()[0].startswith("install NVIDIA's driver")
    assert "onnxruntime-gpu[cuda,cudnn]" in said


def test_a_file_that_is_no_library_of_linux_is_left_to_onnxruntime(provider):
    (provider / "libonnxruntime_providers_tensorrt.so").write_bytes(b"MZ")
    assert libraries.needed_libraries(TENSORRT) == ()
    assert libraries.tensorrt_version() == "unknown"
