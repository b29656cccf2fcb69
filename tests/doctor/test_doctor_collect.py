"""On this machine, and on programs and modules made up for the test."""

import json
import subprocess
import sys
import time

import pytest

from nd_deploy import compat
from nd_deploy.compat import trt
from nd_deploy.compat.jetson import jetson_release
from nd_deploy.doctor import children, collect, examine
from nd_deploy.doctor.folders import engine_cache, plugin_libraries


@pytest.fixture
def program(monkeypatch, tmp_path):
    """Put a program on PATH, and nothing else."""

    def write(name, script):
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))

    return write


def test_this_machine_is_examined_whole_and_quickly():
    start = time.monotonic()
    diagnosis = examine()
    assert time.monotonic() - start < 20  # seconds, on a machine that is busy with other tests
    facts = diagnosis.facts
    assert facts.onnxruntime.version
    assert facts.onnxruntime.runs["CPUExecutionProvider"] is None
    assert facts.telemetry_off
    assert json.loads(json.dumps(diagnosis.as_dict()))["environment"]["python"]
    cpu = next(c for c in diagnosis.capabilities if c.name == "run on ort-cpu")
    assert cpu.available
    assert cpu.reason.startswith("onnxruntime ")


def test_nothing_heavy_is_imported_into_the_doctor_itself():
    code = (
        "import sys; from nd_deploy.doctor import examine; examine()\n"
        "print(*sorted({'torch', 'onnxruntime', 'tensorrt', 'tensorrt_rtx'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_gpus_are_what_nvidia_smi_says_where_no_program_finds_them(program):
    program("nvidia-smi", "echo 'NVIDIA H200, 9.0, 143771 MiB, 580.65.06'")
    gpus, driver = collect._smi()
    assert [(gpu.name, gpu.compute_capability) for gpu in gpus] == [("NVIDIA H200", "9.0")]
    assert driver == "580.65.06"
    program("nvidia-smi", "echo broken driver; exit 9")
    assert collect._smi() == ((), None)
    program("nvidia-smi", "echo 'No devices were found'")
    assert collect._smi() == ((), None)


def test_nvcc_tells_its_version(program):
    program("nvcc", "echo 'Cuda compilation tools, release 12.6, V12.6.77'")
    assert collect._nvcc() == "12.6"


def test_a_program_that_hangs_does_not_hang_the_doctor(monkeypatch, program):
    program("nvidia-smi", "exec /bin/sleep 60")
    monkeypatch.setattr(children, "PATIENCE_S", 0.2)
    assert collect._smi() == ((), None)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("import os; os.abort()", "was ended by SIGABRT"),
        ("raise SystemExit('libnvinfer.so.10')", "ended with exit code 1: libnvinfer.so.10"),
        ("import time; time.sleep(60)", "does not answer"),
    ],
)
def test_a_module_that_ends_its_process_is_told(monkeypatch, tmp_path, body, said):
    (tmp_path / "tensorrt.py").write_text(body)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    if "sleep" in body:
        monkeypatch.setattr(children, "PATIENCE_S", 2)
    assert said in children.ask("tensorrt", "tensorrt")["problem"]


def test_a_module_that_does_not_load_is_told_apart_from_one_that_is_absent(monkeypatch, tmp_path):
    if trt.TENSORRT not in trt.installed():
        assert "is not installed" in children.ask("tensorrt", "tensorrt")["problem"]
    (tmp_path / "tensorrt.py").write_text("raise OSError('libnvinfer.so.10')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    answer = children.ask("tensorrt", "tensorrt")
    assert "OSError: libnvinfer.so.10" in answer["problem"]
    assert answer["version"] is None


def test_a_jetson_is_known_by_its_release(tmp_path):
    file = tmp_path / "nv_tegra_release"
    assert jetson_release(file) is None
    file.write_text("# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64")
    assert jetson_release(file) == "36.4.3"
    file.write_text("something else")
    assert jetson_release(file) is None


def test_the_engine_cache_is_measured_and_not_made(monkeypatch, tmp_path):
    monkeypatch.setenv("ND_DEPLOY_CACHE", str(tmp_path / "cache"))
    assert engine_cache().problem is None
    assert not (tmp_path / "cache").exists()
    engines = tmp_path / "cache" / "engines" / "onnxruntime"
    engines.mkdir(parents=True)
    (engines / "a.engine").write_bytes(bytes(1000))
    found = engine_cache()
    assert (found.engines, found.bytes) == (1, 1000)


def test_an_engine_cache_that_is_a_file_is_told(monkeypatch, tmp_path):
    (tmp_path / "engines").touch()
    monkeypatch.setenv("ND_DEPLOY_CACHE", str(tmp_path))
    found = engine_cache()
    assert "is not writable" in found.problem
    assert "ND_DEPLOY_CACHE" in found.remedy


def test_a_plugin_library_that_the_environment_names_is_looked_at(monkeypatch, tmp_path):
    monkeypatch.setenv("ND_DEPLOY_CACHE", str(tmp_path))
    assert plugin_libraries() == ()
    monkeypatch.setenv("ND_DEPLOY_PLUGIN", str(tmp_path / "p.so"))
    (found,) = plugin_libraries()
    assert found.path == str(tmp_path / "p.so")
    assert found.problem


def test_telemetry_and_the_conflict_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    monkeypatch.setattr(compat, "onnxruntime_conflict", lambda: "both")
    monkeypatch.setattr(collect, "ask", lambda *_: {"problem": "not looked at"})
    found = collect.collect()
    assert not found.telemetry_off
    assert found.conflict == "both"
    assert found.onnxruntime.problem == "not looked at"
