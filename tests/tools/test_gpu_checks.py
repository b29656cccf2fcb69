"""What the suite makes of pytest, compute-sanitizer, nvcc, nvidia-smi and a bare checkout."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from gpu import part_launchers
from gpu.checkout import ROOT, importable, link
from gpu.device import find_nvcc, library_file, parse_gpu, sources_hash
from gpu.part_sanitizer import command, findings, kernel_row, require_working, why_no_enqueue
from gpu.part_tests import counts, folders_of_gpu_tests, why_wrong
from gpu.parts import CannotRun, Part, PartFailed, Settings

REPORT = """<testsuites><testsuite>
  <testcase classname="t" name="a"/>
  <testcase classname="t" name="b"><failure message="no"/></testcase>
  <testcase classname="t" name="c"><error message="no"/></testcase>
  <testcase classname="t" name="d"><skipped message="no GPU"/></testcase>
  <testcase classname="t" name="e"><skipped message="no GPU"/></testcase>
  <testcase classname="" name="t.f"><error message="collection failure">E   ModuleNotFoundError:
  x</error></testcase>
  <testcase classname="" name="t.g"><error message="collection failure">
E   ModuleNotFoundError: No module named 'onnx_graphsurgeon'</error></testcase>
</testsuite></testsuites>"""


def program(folder, text, name="program"):
    """A program in Python."""
    path = folder / name
    path.write_text(f"#!{sys.executable}\nimport sys\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_pytests_report_is_counted_by_outcome_and_reason():
    assert counts(REPORT) == {
        "passed": 1,
        "failed": ["t::b", "t::c", "::t.f"],
        "skipped": {"no GPU": 2, "No module named 'onnx_graphsurgeon'": 1},
    }


def test_a_run_of_pytest_is_good_only_if_something_passed():
    good = {"passed": 3, "failed": [], "skipped": {}}
    missing = {**good, "skipped": {"No module named 'x'": 1}}
    assert why_wrong(0, good) == ""
    assert why_wrong(1, missing) == ""
    assert why_wrong(86, missing) == why_wrong(86, good) == "exit code 86"
    assert why_wrong(1, {**good, "failed": ["a::b"]}) == "1 failed: a::b"
    assert why_wrong(5, {**good, "passed": 0}) == "no test ran, exit code 5"


def test_folders_with_tests_for_a_gpu_are_found_by_their_mark():
    found = folders_of_gpu_tests()
    assert {"tests/plugins", "tests/runtime/trt", "tests/runtime/ort"} <= set(found)
    assert "tests/fold" not in found


FINDINGS = """torch says something
========= COMPUTE-SANITIZER
========= Invalid __global__ read of size 4 bytes
=========     at whiten_mma+0x10
=========
========= ERROR SUMMARY: 1 error
"""


def test_what_compute_sanitizer_finds_is_told_without_its_frame():
    assert findings(FINDINGS) == [
        "Invalid __global__ read of size 4 bytes",
        "at whiten_mma+0x10",
        "ERROR SUMMARY: 1 error",
    ]


def test_a_comparison_under_compute_sanitizer_is_right_if_both_say_so():
    case = {"op": "NDChannelDeconv", "case": "2x8", "dtype": "float32", "status": "ok"}
    good = Part("errors-small", "ran", rows=[case])
    row = kernel_row("memcheck", 0, FINDINGS, good)
    assert (row["status"], row["passed"], row["failed"], row["sanitizer"]) == ("ok", 1, [], [])
    found = kernel_row("memcheck", 86, FINDINGS, good)
    assert found["status"] == "wrong"
    assert found["reason"].startswith("compute-sanitizer ends with 86; Invalid __global__ read")
    wrong = Part("errors-small", "failed", "1 is wrong", [case | {"status": "wrong"}])
    row = kernel_row("memcheck", 0, "", wrong)
    assert (row["status"], row["reason"]) == ("wrong", "1 is wrong")
    assert row["failed"] == ["NDChannelDeconv 2x8 float32"]
    assert kernel_row("racecheck", 1, "", None)["status"] == "failed"


def test_a_compute_sanitizer_that_refuses_the_gpu_is_no_failure_of_the_kernels(tmp_path):
    refuses = program(tmp_path, "print('========= Error: Device not supported'); sys.exit(1)")
    with pytest.raises(CannotRun, match="does not work here: Error: Device not supported"):
        require_working(refuses)
    require_working(program(tmp_path, "sys.exit(0)"))
    assert command("sanitizer", "racecheck")[1:3] == ["--tool", "racecheck"]


def test_enqueue_needs_headers_and_the_library():
    library = Settings(library="a.so")
    assert "headers are not named" in why_no_enqueue(library, {})
    assert "was not built" in why_no_enqueue(Settings(headers="include"), {})
    assert why_no_enqueue(library, {"TENSORRT_INCLUDE_DIR": "include"}) == ""


NVCC = """
import pathlib
target = pathlib.Path(sys.argv[sys.argv.index("-o") + 1])
with open(pathlib.Path(sys.argv[0]).with_name("log"), "a") as log:
    log.write(" ".join(sys.argv[1:]) + "\\n")
target.touch()
"""


def test_the_kernels_are_compiled_apart_and_linked(tmp_path):
    nvcc = program(tmp_path, NVCC, "nvcc")
    path = part_launchers.build(nvcc, "90", tmp_path / "built")
    assert path.name == "libnd_launchers.so"
    assert path.is_file()
    *compiled, linked = (tmp_path / "log").read_text().splitlines()
    sources = {Path(word).name for line in compiled for word in line.split() if "csrc/" in word}
    assert sources == {
        "channel_deconv.cu",
        "channel_deconv_dynamic.cu",
        "fast_deconv_dynamic.cu",
        "errors.cpp",
    }
    assert all("-arch=sm_90" in line for line in (*compiled, linked))
    assert "-shared" in linked


def test_what_does_not_compile_is_told_in_nvccs_words(tmp_path):
    nvcc = program(tmp_path, "print('note'); print('x.cu(3): error: no such thing'); sys.exit(2)")
    with pytest.raises(PartFailed, match=r"exit code 2: x\.cu\(3\): error: no such thing"):
        part_launchers.build(nvcc, "90", tmp_path / "built")
    assert not (tmp_path / "built/libnd_launchers.so").exists()


def test_nvcc_is_found_on_path_or_in_the_toolkit_that_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDACXX", "no such program")
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "bin").mkdir()
    nvcc = program(tmp_path / "bin", "", "nvcc")
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    assert find_nvcc() == nvcc
    monkeypatch.setenv("CUDACXX", nvcc)
    assert find_nvcc() == nvcc


def test_kernels_are_taken_from_the_plugin_library_or_else_from_the_launchers():
    assert library_file(Settings(library="a.so", launchers="b.so")) == "a.so"
    assert library_file(Settings(launchers="b.so")) == "b.so"
    with pytest.raises(CannotRun, match="see the parts 'launchers' and 'plugin'"):
        library_file(Settings())


def test_nvidia_smis_answer_is_read_by_what_was_asked():
    found = parse_gpu("NVIDIA H200, 580.65.06, 143771 MiB, 9.0, 1980 MHz, 345 MHz, 31\nsecond\n")
    assert found["name"] == "NVIDIA H200"
    assert found["compute_cap"] == "9.0"
    assert parse_gpu("No devices were found\n") is None
    assert parse_gpu("") is None


def test_another_source_is_another_version(tmp_path):
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins/a.cu").write_text("1")
    first = sources_hash(tmp_path)
    assert sources_hash(tmp_path) == first
    (tmp_path / "plugins/a.cu").write_text("2")
    assert sources_hash(tmp_path) != first


IMPORTS = """
import nd_deploy, nd_deploy.models, nd_deploy.plugins.receipt
from pathlib import Path
print(Path(nd_deploy.__file__).resolve().parents[1])
print(nd_deploy.plugins.receipt.sources_hash())
"""


def test_a_checkout_that_is_not_installed_can_be_imported(tmp_path):
    from nd_deploy.plugins.receipt import sources_hash as installed

    link(ROOT, tmp_path / "nd_deploy")
    # -S leaves out what is installed, this package too.
    packages = os.pathsep.join([str(tmp_path), *(path for path in sys.path if "-packages" in path)])
    done = subprocess.run(
        [sys.executable, "-S", "-c", IMPORTS],
        env=os.environ | {"PYTHONPATH": packages},
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert done.stdout.split() == [str(ROOT), installed()]


def test_nothing_is_linked_where_the_package_is_installed(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "before")
    with importable():
        assert os.environ["PYTHONPATH"] == "before"
