from pathlib import Path

import numpy as np
import pytest

from nd_deploy.bundle.manifest import TensorInfo
from nd_deploy.errors import InputError
from nd_deploy.parity.reference import Reference
from nd_deploy.profiling.contestant import Contestant
from nd_deploy.profiling.entries import Entry
from nd_deploy.profiling.plan import (
    Wanted,
    baseline_of,
    check_method,
    check_wanted,
    jobs_of,
    options_for,
)
from nd_deploy.profiling.results import Method, ModelRecord
from nd_deploy.runtime.options import RunOptions


def entry(name="digits", kind="bundle", batch="batch", files=None):
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    return Entry(
        ModelRecord(name, kind, f"{name}/"),
        files or {"": Path(f"{name}.onnx")},
        None,
        (TensorInfo("x", "float32", (batch, 4)),),
        Reference({"input": x}, [x.astype(np.float64) * 2], [x * 2]),
        {"x": "input"},
    )


def names(jobs):
    return [str(job.contestant) for job in jobs]


def test_every_model_is_measured_in_every_runtime_with_every_number_of_threads():
    wanted = Wanted(("torch", "ort-cpu", "tensorrt"), (2,), (1, 4))
    assert names(jobs_of([entry("naive", "naive"), entry()], wanted, 2)) == [
        "naive, ort-cpu, batch 2, 1 thread",
        "naive, ort-cpu, batch 2, 4 threads",
        "naive, tensorrt, batch 2",
        "digits, torch, batch 2, 1 thread",
        "digits, torch, batch 2, 4 threads",
        "digits, ort-cpu, batch 2, 1 thread",
        "digits, ort-cpu, batch 2, 4 threads",
        "digits, tensorrt, batch 2",
    ]


def test_graphs_and_caches_are_for_what_runs_on_a_gpu():
    wanted = Wanted(("ort-cpu", "ort-cuda"), (1,), (None,), (False, True), (False, True))
    assert names(jobs_of([entry()], wanted, 1)) == [
        "digits, ort-cpu, batch 1",
        "digits, ort-cuda, batch 1",
        "digits, ort-cuda, batch 1, cold L2",
        "digits, ort-cuda, batch 1, CUDA graph",
        "digits, ort-cuda, batch 1, CUDA graph, cold L2",
    ]
    graphs = [job.options.cuda_graph for job in jobs_of([entry()], wanted, 1)]
    assert graphs == [False, False, False, True, True]


def test_the_reference_inputs_are_repeated_to_the_batch():
    (job,) = jobs_of([entry()], Wanted(), 7)
    assert list(job.feeds) == ["x"]
    expected = np.arange(12, dtype=np.float32).reshape(3, 4)[[0, 1, 2, 0, 1, 2, 0]]
    np.testing.assert_array_equal(job.feeds["x"], expected)
    np.testing.assert_array_equal(entry().truth(7)[0], expected * 2.0)


def test_what_depends_on_the_batch_has_a_truth_at_the_reference_batch_alone():
    dependent = Entry(**{**vars(entry()), "batch_dependent": True})
    assert dependent.truth(2) is None
    assert dependent.truth(3) is not None


def test_a_batch_that_the_model_does_not_take_is_refused():
    with pytest.raises(InputError, match=r"--batch 8: digits/ takes batches of 4 alone\n.*batch 4"):
        jobs_of([entry(batch=4)], Wanted(), 8)
    assert jobs_of([entry(batch=4)], Wanted(), 4)


def test_a_runtime_may_read_a_file_of_its_own():
    files = {"": Path("model.onnx"), "ort-cpu": Path("portable.onnx")}
    jobs = jobs_of([entry(files=files)], Wanted(("ort-cpu", "tensorrt")), 1)
    assert [job.model for job in jobs] == [Path("portable.onnx"), Path("model.onnx")]


def test_an_onnx_file_needs_a_runtime_that_runs_it():
    with pytest.raises(InputError, match="naive is an ONNX model, and torch runs none"):
        jobs_of([entry("naive", "naive")], Wanted(("torch",)), 1)


def contestants():
    return [
        Contestant("naive", "ort-cpu", 1, 1),
        Contestant("naive", "tensorrt", 1),
        Contestant("naive", "tensorrt", 1, None, True),
        Contestant("digits", "torch", 1, 1),
        Contestant("digits", "ort-cpu", 1, 1),
        Contestant("digits", "tensorrt", 1, None, True),
    ]


@pytest.mark.parametrize(("place", "baseline"), [(0, 0), (1, 0), (3, 0), (4, 0), (5, 2)])
def test_the_baseline_is_the_first_model_run_in_the_same_way_or_else_the_first_of_all(
    place, baseline
):
    found = contestants()
    assert baseline_of(found[place], found) == found[baseline]


def test_of_one_model_the_first_way_to_run_it_is_the_baseline():
    found = [Contestant("digits", "torch", 1), Contestant("digits", "ort-cpu", 1)]
    assert baseline_of(found[1], found) == found[0]


def test_every_runtime_gets_the_options_that_mean_something_to_it():
    wanted = Wanted(
        ("torch-cuda", "ort-cpu", "ort-cuda", "tensorrt"),
        options=RunOptions(
            {"ort-cuda:prefer_nhwc": "1", "tensorrt:workspace": "1GiB"},
            precision="float16",
            tf32=True,
        ),
    )
    found = {r: options_for(wanted, Contestant("m", r, 1)) for r in wanted.runtimes}
    assert [(o.precision, o.tf32, dict(o.options)) for o in found.values()] == [
        (None, True, {}),
        (None, False, {}),
        (None, True, {"prefer_nhwc": "1"}),
        ("float16", True, {"workspace": "1GiB"}),
    ]
    assert options_for(Wanted(), Contestant("m", "ort-cpu", 1, 2)).options == {"threads": "2"}
    alone = Wanted(options=RunOptions({"threads": "3"}))
    assert options_for(alone, Contestant("m", "ort-cpu", 1)).options == {"threads": "3"}


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (Wanted(("ort-cpu", "openvino")), "there is no runtime 'openvino'"),
        (Wanted(()), "there is nothing to measure"),
        (Wanted(batches=(1, 0)), "--batch 0 holds nothing"),
        (Wanted(threads=(0,)), "--threads 0 is none"),
        (Wanted(("ort-cuda",), threads=(2,)), "--threads means nothing to ort-cuda"),
        (Wanted(cuda_graph=(True,)), "--cuda-graph is for GPUs"),
        (Wanted(cold_l2=(False, True)), "--l2 is for GPUs"),
        (Wanted(options=RunOptions(tf32=True)), "--tf32 means nothing to --runtime ort-cpu"),
        (
            Wanted(("ort-cpu", "torch"), options=RunOptions({"threads": "2"})),
            "--option threads=2 does not say which runtime it is for",
        ),
        (
            Wanted(options=RunOptions({"tensorrt:workspace": "1GiB"})),
            "is for tensorrt, which is not measured",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_opened(wanted, message):
    with pytest.raises(InputError, match=message):
        check_wanted(wanted)


def test_threads_given_twice_are_refused():
    wanted = Wanted(threads=(2,), options=RunOptions({"threads": "3"}))
    with pytest.raises(InputError, match="threads are given twice"):
        jobs_of([entry()], wanted, 1)


@pytest.mark.parametrize(
    ("method", "flag"),
    [
        (Method(openings=0), "--openings is 0"),
        (Method(rounds=0), "--rounds is 0"),
        (Method(turn_seconds=-1), "--seconds is -1"),
        (Method(turn_iterations=0), "turn_iterations is 0"),
    ],
)
def test_a_method_that_measures_nothing_is_refused(method, flag):
    with pytest.raises(InputError, match=flag):
        check_method(method)
    check_method(Method())
