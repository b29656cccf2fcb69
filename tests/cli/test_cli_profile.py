import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from nd_deploy.bundle import read_bundle

QUICK = ("--openings", "2", "--rounds", "2", "--seconds", "0.002", "--warmup", "0", "--no-peaks")
NETWORK = """
import torch
from torch import nn
from nd_deploy.nd.layers import FastDeconv

def build():
    torch.manual_seed(0)
    return nn.Sequential(FastDeconv(3, 4, 1), nn.ReLU())

def trained():
    network = build()
    for _ in range(3):
        network.train()(torch.randn(8, 3, 4, 4))
    return network
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a user's network, its checkpoint, and the bundle that is made of them."""
    folder = tmp_path_factory.mktemp("profile")
    (folder / "profiled_net.py").write_text(NETWORK)
    code = (
        "import torch, profiled_net; torch.save(profiled_net.trained().state_dict(), 'best.pth')\n"
        "from nd_deploy.cli.main import main\n"
        "main(['convert', 'profiled_net:build', '--checkpoint', 'best.pth', '--input', '3x4x4',"
        " '-o', 'out'])"
    )
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture
def here(place, monkeypatch):
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "path", [str(place), *sys.path])
    return place


def test_a_bundle_is_compared_with_the_naive_export_of_its_network(here, invoke):
    arguments = ("profile", "out", "--against", "naive", "--batch", "1,3", "--threads", "1")
    result = invoke(*arguments, "--runtime", "torch,ort-cpu", *QUICK, "--json")
    document = json.loads(result.stdout)
    assert document["kind"] == "nd-deploy profile"
    rows = [
        (row["contestant"]["model"], row["contestant"]["runtime"], row["contestant"]["batch"])
        for row in document["rows"]
    ]
    each = (("naive", "ort-cpu"), ("out", "torch"), ("out", "ort-cpu"))
    assert rows == [(*pair, batch) for batch in (1, 3) for pair in each]
    overs = [row["ratio"] and row["ratio"]["over"] for row in document["rows"][:3]]
    assert overs == [None, *["naive, ort-cpu, batch 1, 1 thread"] * 2]
    assert all(row["error"] < 1e-5 for row in document["rows"])
    assert document["method"]["openings"] == 2
    assert [model["kind"] for model in document["models"]] == ["naive", "bundle"]
    assert document["command"].startswith("nd-deploy")


def test_the_terminal_shows_the_comparison_the_table_and_what_to_doubt(here, invoke):
    result = invoke("profile", "out", "--against", "out/model.onnx", *QUICK)
    first, blank, heading, *lines = result.stdout.splitlines()
    assert first.startswith("batch 1, ort-cpu: ")
    assert "out" in first
    assert "model.onnx" in first
    assert not blank
    assert {"model", "runtime", "ratio", "p50", "p99"} <= set(heading.split())
    assert len(lines) == 2
    assert "warning: " in result.stderr


def test_results_are_exported_and_compared(here, invoke, tmp_path):
    for name in ("old", "new"):
        exports = [f"--export={tmp_path / name}.{kind}" for kind in ("json", "csv", "md")]
        assert "written to" in invoke("profile", "out", *QUICK, *exports).stderr
    files = [str(tmp_path / f"{name}.json") for name in ("old", "new")]
    compared = invoke("profile", "--compare", *files)
    assert "change of latency" in compared.stdout
    document = json.loads(files_text := (tmp_path / "new.json").read_text())
    for row in document["rows"]:
        rounds = row["metrics"]["latency"]["rounds"]
        row["metrics"]["latency"]["rounds"] = [[9 * t for t in turns] for turns in rounds]
    (tmp_path / "slow.json").write_text(json.dumps(document))
    files[1] = str(tmp_path / "slow.json")
    failed = invoke("profile", "--compare", *files, "--fail-over", "5%", code=3)
    assert "slower by more than 5%" in failed.stderr
    assert (tmp_path / "new.json").read_text() == files_text
    assert invoke("profile", "--compare", *files[:1], *files[:1], "--fail-over", "5%")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("out", "--runtime", "openvino"), "there is no runtime 'openvino'"),
        (("out", "--batch", "0"), "--batch 0 holds nothing"),
        (("out", "--batch", "one"), "--batch one: 'one' makes no sense"),
        (("out", "--batch", "1,1"), "--batch 1,1 names 1 twice"),
        (("out", "--runtime", "ort-cpu,"), "--runtime ort-cpu,: '' makes no sense"),
        (("out", "--rounds", "0"), "--rounds is 0"),
        (("out", "--cuda-graph", "on"), "--cuda-graph is for GPUs"),
        (("out", "--l2", "both"), "--l2 is for GPUs"),
        (("out", "--option", "threads=x"), "--option threads=x makes no sense"),
        (("out", "--export", "result.txt"), "there is no format for result.txt"),
        (("out", "--export", "gone/result.json"), "there is no folder gone"),
        (("out", "--export", "a.md", "--export", "a.md"), "--export a.md is given twice"),
        (("out", "--fail-over", "5%"), "--fail-over is for --compare"),
        (("out", "--compare", "a.json", "b.json"), "--compare measures nothing"),
        (("--compare", "a.json", "b.json"), "a.json"),
        ((), "there is nothing to measure"),
        (("gone",), "gone does not exist"),
        (("out", "--against", "gone.onnx"), "--against gone.onnx: there is no such file"),
        (("out", "--runtime", "torch", "--checkpoint", "gone.pth"), "gone.pth"),
    ],
)
def test_what_makes_no_sense_is_an_error_with_a_remedy(here, invoke, arguments, said):
    result = invoke("profile", *arguments, *QUICK[4:], code=1)
    error, *remedy = result.stderr[result.stderr.index("error: ") :].splitlines()
    assert said in error
    assert remedy[0].startswith("  ")


@pytest.mark.parametrize("runtime", ["ort-cuda", "ort-tensorrt", "tensorrt-rtx", "torch-cuda"])
def test_a_runtime_that_is_not_there_is_not_replaced_by_another(here, invoke, runtime):
    result = invoke("profile", "out", "--runtime", runtime, *QUICK, code=3)
    assert "error: " in result.stderr
    assert not result.stdout


def test_a_model_that_gives_nan_is_not_timed(here, invoke, tmp_path):
    model = onnx.load("out/model.onnx")
    weight = model.graph.initializer[0]
    broken = np.full_like(numpy_helper.to_array(weight), np.nan)
    weight.CopyFrom(numpy_helper.from_array(broken, weight.name))
    onnx.save(model, tmp_path / "broken.onnx")
    result = invoke("profile", "out", "--against", tmp_path / "broken.onnx", *QUICK, code=2)
    assert "are NaN or infinite" in result.stderr


def test_a_bundle_of_one_batch_says_so(here, invoke, tmp_path):
    invoke("convert", "profiled_net:build", "--checkpoint", "best.pth", "--input", "3x4x4",
           "--static-batch", "-o", tmp_path / "one")  # fmt: skip
    result = invoke("profile", tmp_path / "one", "--batch", "1,8", *QUICK, code=1)
    assert "takes batches of 1 alone" in result.stderr


@pytest.mark.skipif(
    signal.getsignal(signal.SIGINT) == signal.SIG_IGN, reason="Ctrl-C is turned off here"
)
def test_ctrl_c_keeps_and_reports_the_rounds_that_finished(here, tmp_path):
    export = tmp_path / "part.json"
    command = [sys.executable, "-m", "nd_deploy", "profile", "out", "--openings", "1", "--rounds",
               "100000", "--seconds", "0.01", "--export", str(export)]  # fmt: skip
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    for line in process.stderr:
        if "round 3 of" in line:
            os.killpg(process.pid, signal.SIGINT)
            break
    stdout, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "ort-cpu" in stdout
    document = json.loads(export.read_text())
    assert document["interrupted"]
    assert "interrupted" in [remark["kind"] for remark in document["remarks"]]
    (rounds,) = document["rows"][0]["metrics"]["latency"]["rounds"]
    assert len(rounds) >= 2


def test_ctrl_c_before_anything_was_measured_leaves_nothing(here, tmp_path):
    export = tmp_path / "none.json"
    command = [sys.executable, "-m", "nd_deploy", "profile", "out", "--warmup", "100000",
               "--export", str(export)]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if "warming up" in line:
            time.sleep(0.1)
            process.send_signal(signal.SIGINT)
            break
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert not stdout
    assert "interrupted" in stderr
    assert not export.exists()


def test_the_bundle_stays_as_it_was(here, invoke):
    before = {path.name: path.stat().st_mtime_ns for path in (here / "out").iterdir()}
    invoke("profile", "out", *QUICK)
    assert {path.name: path.stat().st_mtime_ns for path in (here / "out").iterdir()} == before
    assert read_bundle("out")
