"""What tools/bench_matrix.py makes of measurements, and of networks that cannot be measured."""

import json
import math
from dataclasses import replace

import bench_matrix
import numpy as np
import pytest
from matrix import costs
from matrix.measure import FULL, QUICK, method_for, runtimes_of
from matrix.outcome import FOLDED, NAIVE, TWIN, TWIN_BUNDLE, FileCost, Outcome, Settings
from matrix.table import page
from onnx import numpy_helper, parser

from nd_deploy.bundle import onnx_file
from nd_deploy.doctor import Capability
from nd_deploy.errors import InputError
from nd_deploy.profiling.contestant import Contestant
from nd_deploy.profiling.environment.record import Cpu, Environment
from nd_deploy.profiling.figures import LATENCY, Measured, Ratio, Summary
from nd_deploy.profiling.results import Profile, Row

SETTINGS = Settings(("ort-cpu", "torch"), (1, 8), 1, QUICK)
MACHINE = Environment("x86_64", "Linux", "3.11.7", Cpu("Some CPU", 4, (0, 1)), {"torch": "2.13.0"})


def row(model, runtime, batch, milliseconds, ratio=None):
    """A row of one latency; its interval is a tenth to either side."""
    seconds = milliseconds / 1e3
    summary = Summary(1, seconds, 0.0, 0.0, *[seconds] * 6, (seconds,) * 101)
    over = ratio and Ratio("twin", LATENCY, ratio, ratio - 0.1, ratio + 0.1, 0.95)
    contestant = Contestant(model, runtime, batch, 1)
    measured = {LATENCY: Measured(summary, ((seconds,),))}
    return Row(contestant, measured, batch / seconds, over)


def profile(*rows):
    return Profile(rows, (), QUICK, MACHINE, "2026-11-25T12:00:00+00:00")


@pytest.fixture
def outcome():
    of_models = profile(
        row(TWIN, "ort-cpu", 1, 2.5),
        row(NAIVE, "ort-cpu", 1, 3.0, 1.2),
        row(FOLDED, "ort-cpu", 1, 2.55, 1.02),
        row(TWIN, "ort-cpu", 8, 12.34),
        row(FOLDED, "ort-cpu", 8, 12.34, 1.0),
    )
    of_pytorch = profile(row(TWIN_BUNDLE, "torch", 1, 5.0), row(FOLDED, "torch", 1, 35.0, 7.0))
    files = (FileCost(TWIN, 9_100_000, 0.009, 41_600_000), FileCost(FOLDED, 9_200_000, 0.0116, 0))
    notes = ("no export of the network as it is: it branches",)
    return Outcome("vgg16", SETTINGS, (of_models, of_pytorch), files, notes)


def lines_of(text):
    """The cells of every line of every table."""
    lines = [line for line in text.splitlines() if line.startswith("|") and "---" not in line]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_a_line_is_a_runtime_and_a_batch_over_the_twin_there(outcome):
    assert lines_of(page([outcome], ""))[1:4] == [
        ["vgg16", "ort-cpu", "1", "2.5", "1.020 [0.920, 1.120]", "1.200 [1.100, 1.300]"],
        ["vgg16", "ort-cpu", "8", "12.3", "1.000 [0.900, 1.100]", "-"],
        ["vgg16", "torch", "1", "5", "-", "7.000 [6.900, 7.100]"],
    ]


def test_files_are_told_by_size_load_time_and_memory(outcome):
    assert lines_of(page([outcome], ""))[5:] == [
        ["vgg16", "file, MB", "9.1", "9.2", "-"],
        ["", "load, ms", "9", "12", "-"],
        ["", "peak memory, MB", "42", "0", "-"],
    ]


def test_a_network_that_failed_is_a_line_that_says_why():
    failed = Outcome("dpn92", SETTINGS, error="InputError: it | broke")
    assert r"| dpn92 | failed: InputError: it \| broke | - | - | - | - |" in page([failed], "")


def test_the_page_tells_the_command_the_machine_and_the_method_once(outcome):
    text = page([outcome, replace(outcome, network="vgg11")], "python tools/bench_matrix.py")
    assert text.startswith("`python tools/bench_matrix.py`\n")
    assert text.count("Some CPU, 2 of 4 logical processors, Python 3.11.7, torch 2.13.0") == 1
    assert text.count("2 openings of 4 turns") == 1
    assert "- vgg16: no export of the network as it is: it branches" in text


def test_an_outcome_is_the_same_after_a_file(outcome, tmp_path):
    bench_matrix.write(outcome, tmp_path / "vgg16.json")
    assert bench_matrix.read(tmp_path / "vgg16.json") == outcome
    assert [file.name for file in tmp_path.iterdir()] == ["vgg16.json"]


def test_a_runtime_takes_part_where_it_works():
    found = [
        Capability("run on ort-cpu", True, ""),
        Capability("run on ort-cuda", False, "no GPU"),
        Capability("build and run on tensorrt", True, ""),
        Capability("build for tensorrt-rtx", True, ""),
        Capability("run on tensorrt-rtx", False, "no GPU"),
    ]
    assert runtimes_of(found, pytorch_gpu=False) == ("ort-cpu", "tensorrt", "torch")
    assert runtimes_of(found[:1], pytorch_gpu=True) == ("ort-cpu", "torch", "torch-cuda")


def test_large_images_get_fewer_runs():
    assert method_for(FULL, (3, 32, 32)) == FULL
    large = method_for(FULL, (3, 224, 224))
    assert (large.openings, large.rounds, large.turn_iterations) == (3, 6, 1)
    assert method_for(replace(FULL, rounds=2), (3, 224, 224)).rounds == 2


@pytest.fixture
def children(monkeypatch):
    """Stands in for the processes: each does what is told for its network."""
    doings, started = {}, []

    class Done:
        def __init__(self, returncode):
            self.returncode = returncode

    def run(command, **options):
        network, _, settings, file = command[2:]
        started.append(network)
        settings = Settings.from_dict(json.loads(settings))
        doing = doings.get(network, Outcome(network, settings))
        if isinstance(doing, int):
            return Done(doing)
        bench_matrix.write(doing, bench_matrix.Path(file))
        return Done(0)

    monkeypatch.setattr(bench_matrix.subprocess, "run", run)
    return doings, started


def run(folder, *networks, rounds=4):
    options = ["--quick", "--runtimes", "ort-cpu,torch", "--rounds", rounds, "--out", folder]
    return bench_matrix.main([*networks, *map(str, options)])


def test_a_network_whose_process_is_killed_does_not_stop_the_others(children, tmp_path, capsys):
    doings, started = children
    doings["vgg11"] = -9
    assert run(tmp_path, "vgg11", "digits") == 1
    assert started == ["vgg11", "digits"]
    assert "| vgg11 | failed: its process was ended by SIGKILL |" in capsys.readouterr().out
    assert "SIGKILL" in (tmp_path / "matrix.md").read_text()


def test_a_run_goes_on_where_it_stopped(children, tmp_path):
    doings, started = children
    doings["vgg11"] = 3
    run(tmp_path, "digits", "vgg11")
    del doings["vgg11"]
    assert run(tmp_path, "digits", "vgg11", "mlp") == 0
    assert started == ["digits", "vgg11", "vgg11", "mlp"]


def test_what_was_asked_for_otherwise_is_measured_again(children, tmp_path):
    _, started = children
    run(tmp_path, "digits")
    run(tmp_path, "digits", rounds=5)
    assert started == ["digits", "digits"]


def test_after_ctrl_c_the_page_shows_what_there_is(children, tmp_path, capsys, outcome):
    doings, _ = children
    doings.update(digits=replace(outcome, network="digits"), vgg11=bench_matrix.INTERRUPTED)
    assert run(tmp_path, "digits", "vgg11", "mlp") == 130
    assert [line[0] for line in lines_of(capsys.readouterr().out)][1] == "digits"


def test_an_error_of_a_measurement_is_its_outcome(monkeypatch, tmp_path, capsys):
    def fail(*_):
        raise InputError("the checkpoint is not there", "look for it")

    monkeypatch.setattr(bench_matrix, "measure", fail)
    assert bench_matrix.run_here("mlp", SETTINGS, tmp_path / "mlp.json") == 0
    found = bench_matrix.read(tmp_path / "mlp.json")
    assert found == Outcome("mlp", SETTINGS, error="InputError: the checkpoint is not there")
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [["frobnet"], ["--runtimes", "ort-cpu,frob"]])
def test_an_unknown_network_or_runtime_is_refused(wrong, capsys):
    with pytest.raises(SystemExit) as ended:
        bench_matrix.parse(wrong)
    assert ended.value.code == 2
    assert "frob" in capsys.readouterr().err


def test_a_file_costs_its_weights_too(monkeypatch, tmp_path):
    monkeypatch.setattr(costs, "_TRIES", 1)
    model = parser.parse_model(
        '<ir_version: 10, opset_import: ["": 18]> g (float[n, 600] x) => (float[n, 600] y)'
        "<float[600, 600] w> { y = MatMul(x, w) }"
    )
    del model.graph.initializer[:]
    weight = np.ones((600, 600), np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weight, "w"))
    written = onnx_file.save(model, tmp_path / "m.onnx", external_data_over=0)
    cost = costs.cost_of("m", tmp_path / "m.onnx", (1, 600))
    assert len(written) == 2
    assert cost.size == sum(file.stat().st_size for file in written)
    assert 0 < cost.load_seconds < math.inf
    assert cost.peak_bytes > weight.nbytes
