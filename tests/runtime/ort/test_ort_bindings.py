"""On the CPU, where buffers behave as on a GPU but for the copying."""

import ctypes

import numpy as np
import onnxruntime
import pytest
from onnx import parser

from nd_deploy.errors import BackendError, InputError
from nd_deploy.runtime.feeds import Port
from nd_deploy.runtime.onnxruntime import OnnxRuntimeRunner
from nd_deploy.runtime.ort.bindings import BufferedRuns, resolve_shape
from nd_deploy.runtime.ort.buffers import Device

MODEL = """
<ir_version: 10, opset_import: ["": 21]>
g (float[N, 3] x, float[N, 3] y) => (float[N, 3] total, float[3] first)
{
    total = Add (x, y)
    axes = Constant <value_ints: ints = [0]> ()
    first = ReduceSum <keepdims: int = 0> (x, axes)
}
"""
INPUTS = [Port("x", "float32", ("N", 3)), Port("y", "float32", ("N", 3))]
OUTPUTS = [Port("total", "float32", ("N", 3)), Port("first", "float32", (3,))]


@pytest.fixture
def session():
    text = parser.parse_model(MODEL).SerializeToString()
    return onnxruntime.InferenceSession(text, providers=["CPUExecutionProvider"])


@pytest.fixture
def runs(session):
    return BufferedRuns(session, INPUTS, OUTPUTS, Device("cpu"))


def feeds(rows, seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=(rows, 3)).astype(np.float32) for name in "xy"}


def test_each_run_computes_from_what_it_is_given(runs):
    for seed in range(3):
        given = feeds(4, seed)
        results = runs.run(given)
        np.testing.assert_array_equal(results["total"], given["x"] + given["y"])
        np.testing.assert_allclose(results["first"], given["x"].sum(axis=0), rtol=1e-6)


def test_results_stay_when_the_next_run_writes_its_own(runs):
    first = runs.run(feeds(2))["total"]
    kept = first.copy()
    runs.run(feeds(2, seed=9))
    np.testing.assert_array_equal(first, kept)


def test_arrays_of_any_layout_are_taken(runs):
    given = feeds(3)
    strided = {name: np.asfortranarray(array) for name, array in given.items()}
    np.testing.assert_array_equal(runs.run(strided)["total"], given["x"] + given["y"])


def test_one_set_of_shapes_keeps_its_addresses_and_another_has_its_own(runs):
    small = runs.at({"x": (2, 3), "y": (2, 3)})
    before = small.addresses()
    large = runs.at({"x": (8, 3), "y": (8, 3)})
    runs.run(feeds(2))
    assert runs.at({"x": (2, 3), "y": (2, 3)}) is small
    assert small.addresses() == before
    assert not set(large.addresses().values()) & set(before.values())


def test_places_say_what_lies_where(runs):
    buffers = runs.at({"x": (2, 3), "y": (2, 3)})
    places = {place.name: place for place in buffers.places()}
    assert {name: place.is_input for name, place in places.items()} == {
        "x": True,
        "y": True,
        "total": False,
        "first": False,
    }
    assert {name: place.shape for name, place in places.items()} == {
        "x": (2, 3),
        "y": (2, 3),
        "total": (2, 3),
        "first": (3,),
    }
    assert {place.dtype for place in places.values()} == {np.dtype(np.float32)}
    given = feeds(2)
    buffers.feed(given)
    there = (ctypes.c_float * 6).from_address(places["y"].address)
    np.testing.assert_array_equal(np.array(there).reshape(2, 3), given["y"])


def test_a_run_that_is_not_waited_for_computes_the_same(runs, monkeypatch):
    entries = []

    class Options(onnxruntime.RunOptions):
        def add_run_config_entry(self, name, value):
            entries.append((name, value))
            super().add_run_config_entry(name, value)

    monkeypatch.setattr(onnxruntime, "RunOptions", Options)
    given = feeds(2)
    buffers = runs.at({"x": (2, 3), "y": (2, 3)})
    buffers.feed(given)
    entries.clear()
    buffers.enqueue()
    buffers.enqueue()
    assert entries == [
        ("gpu_graph_id", "0"),
        ("disable_synchronize_execution_providers", "1"),
    ]
    np.testing.assert_array_equal(buffers.fetch()["total"], given["x"] + given["y"])


def test_each_set_of_shapes_has_a_graph_of_its_own(session, monkeypatch):
    asked = []

    class Options:
        def __init__(self):
            asked.append({})

        def add_run_config_entry(self, name, value):
            asked[-1][name] = value

    monkeypatch.setattr(onnxruntime, "RunOptions", Options)
    runs = BufferedRuns(session, INPUTS, OUTPUTS, Device("cpu"))
    for rows in (1, 5, 1):
        runs.at({"x": (rows, 3), "y": (rows, 3)})
    assert asked == [{"gpu_graph_id": "0"}, {"gpu_graph_id": "1"}]


def test_a_provider_that_captures_once_refuses_other_shapes(session):
    runs = BufferedRuns(session, INPUTS, OUTPUTS, Device("cpu"), captures=1)
    runs.run(feeds(2))
    runs.run(feeds(2, seed=1))
    with pytest.raises(BackendError) as caught:
        runs.run(feeds(3))
    assert "that is for x 2x3, y 2x3, not for x 3x3, y 3x3" in caught.value.problem
    assert "--cuda-graph" in caught.value.remedy


@pytest.mark.parametrize("shape", [None, ("M", 3), (None, 3)])
def test_an_output_whose_size_nobody_knows_has_no_buffer(session, shape):
    runs = BufferedRuns(session, INPUTS, [Port("total", "float32", shape)], Device("cpu"))
    with pytest.raises(BackendError, match="output 'total' does not follow"):
        runs.check()


def test_open_sizes_come_from_the_inputs():
    assert resolve_shape(Port("y", "float32", ("N", 5, "H")), {"N": 2, "H": 7}) == (2, 5, 7)


def test_a_type_that_numpy_does_not_have_is_refused(session):
    ports = [Port("x", "bfloat16", ("N", 3)), INPUTS[1]]
    runs = BufferedRuns(session, ports, OUTPUTS, Device("cpu"))
    with pytest.raises(InputError, match="bfloat16"):
        runs.at({"x": (1, 3), "y": (1, 3)})


def test_memory_that_is_not_there_is_told(session):
    gpu = Device("cuda", 0)
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("CUDA is here")
    runs = BufferedRuns(session, INPUTS, OUTPUTS, gpu)
    with pytest.raises(BackendError, match="cannot allocate buffers on cuda 0"):
        runs.at({"x": (1, 3), "y": (1, 3)})


def test_the_cpu_has_nothing_to_copy_to():
    runner = OnnxRuntimeRunner(parser.parse_model(MODEL))
    with pytest.raises(InputError, match="no buffers but the arrays given"):
        runner.prepare(feeds(2))
