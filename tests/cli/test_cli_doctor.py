import json
import subprocess
import sys
import types

import pytest

from nd_deploy import doctor


@pytest.fixture
def no_onnxruntime(monkeypatch):
    """Pretend that nothing runs, which also spares the time of trying."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)


def capability(name):
    return next(c for c in doctor.examine().capabilities if c.name == name)


def test_what_is_installed_works_and_needs_no_remedy():
    found = capability("run on the CPU")
    assert found.available
    assert found.remedy is None
    assert found.reason.startswith("onnxruntime ")


def test_what_is_missing_names_its_remedy(no_onnxruntime):
    found = capability("run on the CPU")
    assert not found.available
    assert found.remedy == "pip install 'nd-deploy[cpu]'"


def test_a_missing_package_is_named(monkeypatch, no_onnxruntime):
    monkeypatch.setattr(doctor, "_packages", lambda: {"torch": "2.13.0"})
    found = capability("convert")
    assert not found.available
    assert "onnxscript is not installed" in found.reason
    assert "nd-deploy[export]" in found.remedy


def test_without_a_gpu_nothing_is_to_be_installed_for_one(monkeypatch, no_onnxruntime):
    monkeypatch.setattr(doctor, "_gpus", lambda: ())
    assert "NVIDIA GPU" in capability("run on CUDA").remedy
    monkeypatch.setattr(doctor, "_gpus", lambda: ("H200",))
    assert "pip uninstall -y onnxruntime &&" in capability("run on CUDA").remedy


def test_gpus_are_what_nvidia_smi_says(monkeypatch, tmp_path):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA H200, 143771 MiB, 570.1, 9.0'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert doctor._gpus() == ("NVIDIA H200, 143771 MiB, 570.1, 9.0",)
    program.write_text("#!/bin/sh\necho broken driver\nexit 9\n")
    assert doctor._gpus() == ()


def test_a_program_that_hangs_does_not_hang_the_doctor(monkeypatch):
    def hang(*_, **options):
        raise subprocess.TimeoutExpired("nvidia-smi", options["timeout"])

    monkeypatch.setattr("shutil.which", lambda _: "/bin/nvidia-smi")
    monkeypatch.setattr("subprocess.run", hang)
    assert doctor._gpus() == ()


def test_a_module_that_does_not_load_is_told_apart_from_one_that_is_absent(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "broken_tensorrt.py").write_text("raise OSError('libnvinfer.so.10')")
    assert doctor._version_of_module("broken_tensorrt") == "installed, but broken: libnvinfer.so.10"
    assert doctor._version_of_module("absent_tensorrt") == "not installed"
    (tmp_path / "fine_tensorrt.py").write_text("__version__ = '10.3'")
    assert doctor._version_of_module("fine_tensorrt") == "10.3"


def test_telemetry_is_told(monkeypatch):
    assert doctor._telemetry() == "ONNX Runtime's is off"
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    assert "is on" in doctor._telemetry()


@pytest.fixture
def diagnosis(monkeypatch):
    def set_(conflict=None, **changes):
        fields = {
            "environment": {"python": "3.11"},
            "packages": {"nd-deploy": "1"},
            "gpus": (),
            "capabilities": (
                doctor.Capability("convert", True, "torch 2"),
                doctor.Capability("read images", False, "pillow is not installed", "pip it"),
            ),
            "conflict": conflict,
        }
        found = doctor.Diagnosis(**(fields | changes))
        monkeypatch.setattr("nd_deploy.doctor.examine", lambda: found)

    return set_


def test_the_table_says_yes_no_and_what_to_do(diagnosis, invoke):
    diagnosis()
    lines = invoke("doctor").stdout.splitlines()
    assert "convert      yes  torch 2" in lines
    assert "read images  no   pillow is not installed" in lines
    assert "read images  pip it" in lines
    assert any(line.split() == ["GPU", "none", "found"] for line in lines)


def test_a_conflict_is_the_one_thing_that_fails(diagnosis, invoke):
    diagnosis(conflict="both are installed; pip uninstall -y onnxruntime")
    result = invoke("doctor", code=1)
    assert "convert" in result.stdout
    assert "both are installed" in result.stderr


def test_json_is_the_diagnosis(diagnosis, invoke):
    diagnosis()
    document = json.loads(invoke("doctor", "--json").stdout)
    assert document["capabilities"][1]["remedy"] == "pip it"
    assert document["conflict"] is None


def test_the_conflict_comes_from_the_environment(monkeypatch, no_onnxruntime):
    monkeypatch.setattr(
        doctor, "compat", types.SimpleNamespace(onnxruntime_conflict=lambda: "both")
    )
    assert doctor.examine().conflict == "both"
