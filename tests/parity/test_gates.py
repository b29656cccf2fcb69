"""On a network of two products, whose outputs numpy computes from its weights."""

import math
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper, parser

from nd_deploy.errors import BackendError, InputError
from nd_deploy.parity.gates import backend_gate, fold_gate, storage_gate
from nd_deploy.parity.reference import Reference
from nd_deploy.passes.model import load
from nd_deploy.runtime.base import Receipt
from nd_deploy.runtime.choose import opener

TEXT = """
<ir_version: 10, opset_import: ["": 18]>
network (float[batch, 40] input) => (float[batch, 30] output_0, float[batch, 20] output_1)
{
    output_0 = MatMul (input, first)
    output_1 = MatMul (output_0, second)
}
"""


@pytest.fixture
def weights():
    rng = np.random.default_rng(0)
    return {
        name: rng.normal(size=size) for name, size in (("first", (40, 30)), ("second", (30, 20)))
    }


def model_of(weights):
    """A float32 model."""
    model = parser.parse_model(TEXT)
    for name, values in weights.items():
        tensor = numpy_helper.from_array(values.astype(np.float32), name)
        model.graph.initializer.append(tensor)
    return model


def graph_of(weights, dtype=np.float64):
    """The graph in the passes' form with weights of this dtype."""
    graph = load(model_of(weights))
    for node in graph.nodes:
        node.inputs[1].values = weights[node.inputs[1].name].astype(dtype)
    return graph


def outputs_of(weights, x, dtype):
    first = x.astype(dtype) @ weights["first"].astype(dtype)
    return [first, first @ weights["second"].astype(dtype)]


@pytest.fixture
def reference(weights):
    x = np.random.default_rng(1).normal(size=(5, 40)).astype(np.float32)
    truth = outputs_of(weights, x, np.float64)
    return Reference({"input": x}, truth, outputs_of(weights, x, np.float32))


def test_an_exact_fold_passes_against_pytorch(weights, reference):
    graph = graph_of(weights)
    gate = fold_gate(graph, graph, reference)
    assert (gate.name, gate.budget) == ("fold", 1e-10)
    assert gate.passed
    assert gate.error < 1e-14
    assert gate.compares == "folded graph in float64 against PyTorch in float64"


@pytest.mark.parametrize("name", ["first", "second"])
def test_a_fold_that_is_off_by_one_weight_fails(weights, reference, name):
    wrong = {key: values.copy() for key, values in weights.items()}
    wrong[name][7, 11] += 1e-8
    gate = fold_gate(graph_of(wrong), graph_of(weights), reference)
    assert not gate.passed
    expected = max(
        np.abs(y - t).max() / np.abs(t).max()
        for y, t in zip(
            outputs_of(wrong, reference.inputs["input"], np.float64), reference.truth, strict=True
        )
    )
    assert gate.error == pytest.approx(expected, rel=1e-3)


def test_where_the_export_itself_differs_the_fold_is_held_against_the_graph_before(
    weights, reference
):
    rounded = {"first": weights["first"].astype(np.float32), "second": weights["second"]}
    gate = fold_gate(graph_of(rounded), graph_of(rounded), reference)
    assert gate.passed
    assert gate.error == 0
    assert "folded graph against the unfolded one" in gate.compares
    assert "torch.onnx's own export differs from PyTorch by" in gate.compares
    wrong = {"first": rounded["first"], "second": rounded["second"] * (1 + 1e-6)}
    assert not fold_gate(graph_of(wrong), graph_of(rounded), reference).passed


def test_a_fold_to_nan_fails_both_ways(weights, reference):
    broken = {"first": weights["first"] * np.nan, "second": weights["second"]}
    assert fold_gate(graph_of(broken), graph_of(weights), reference).error == math.inf
    assert not fold_gate(graph_of(broken), graph_of(broken), reference).passed


def test_float32_weights_pass_the_storage_gate_with_rounding_error(weights, reference):
    gate = storage_gate(graph_of(weights, np.float32), reference)
    assert gate.name == "storage"
    assert gate.passed
    assert 1e-9 < gate.error < 1e-6
    assert gate.budget == max(2 * reference.torch_error, 4 * 2.0**-24)


def test_weights_rounded_to_half_precision_fail_the_storage_gate(weights, reference):
    half = {name: values.astype(np.float16) for name, values in weights.items()}
    gate = storage_gate(graph_of(half, np.float32), reference)
    assert not gate.passed
    assert 1e-5 < gate.error < 1e-2


def test_a_weight_beyond_float32_fails_the_storage_gate(weights, reference):
    weights["second"][3, 4] = 1e39
    with np.errstate(all="ignore"):
        gate = storage_gate(graph_of(weights, np.float32), reference)
    assert gate.error == math.inf
    assert not gate.passed


@pytest.mark.parametrize("as_file", [True, False])
def test_the_backend_gate_says_what_it_ran_on(weights, reference, tmp_path, as_file):
    model: onnx.ModelProto | Path = model_of(weights)
    if as_file:
        onnx.save(model, tmp_path / "model.onnx")
        model = tmp_path / "model.onnx"
    gate, outputs = backend_gate(model, reference)
    assert gate.name == "backend"
    assert gate.passed
    assert gate.details["runtime"] == "onnxruntime"
    assert list(gate.details["providers_got"]) == ["CPUExecutionProvider"]
    assert gate.details["tf32"] is False
    assert gate.budget == max(4 * reference.torch_error, 16 * 2.0**-24)
    for actual, truth in zip(outputs, reference.truth, strict=True):
        np.testing.assert_allclose(actual, truth, atol=1e-5 * np.abs(truth).max())


def test_a_model_with_other_weights_fails_the_backend_gate(weights, reference):
    weights["second"] *= 1 + 1e-4
    gate, _ = backend_gate(model_of(weights), reference)
    assert not gate.passed
    assert gate.error == pytest.approx(1e-4, rel=0.05)


class HalfRunner:
    """A runtime of its own, which computes in half precision."""

    receipt = Receipt("tensorrt", "10.3", ("TensorRT",), ("TensorRT",), files={"p.so": "abc"})

    def __init__(self, weights):
        self.weights = weights

    def run(self, feeds):
        outputs = outputs_of(self.weights, feeds["input"], np.float16)
        return {f"output_{place}": y.astype(np.float32) for place, y in enumerate(outputs)}


def test_any_runtime_is_held_against_the_same_budget(weights, reference):
    asked = []
    gate, _ = backend_gate(
        model_of(weights), reference, lambda model: asked.append(model) or HalfRunner(weights)
    )
    assert len(asked) == 1
    assert gate.compares == "TensorRT, against PyTorch in float64"
    assert gate.details["files"] == {"p.so": "abc"}
    assert gate.budget == backend_gate(model_of(weights), reference)[0].budget
    assert not gate.passed


def test_a_runtime_that_is_not_there_is_an_error_and_no_other_is_taken(weights, reference):
    with pytest.raises(InputError, match="no runtime 'no-such-runtime'"):
        backend_gate(model_of(weights), reference, opener("no-such-runtime"))
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        return
    with pytest.raises(BackendError) as caught:
        backend_gate(model_of(weights), reference, opener("ort-cuda"))
    assert caught.value.exit_code == 3
