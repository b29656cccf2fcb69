"""Layers in a real ONNX Runtime on the CPU: which there are, and whose they are."""

import importlib

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper, parser

from nd_deploy.errors import BackendError, InputError
from nd_deploy.nd import dialect
from nd_deploy.profiling.contestant import Contestant
from nd_deploy.profiling.layers import layer_times
from nd_deploy.profiling.layers.medians import median_of_runs
from nd_deploy.profiling.subjects.base import Job
from nd_deploy.runtime.onnxruntime import OnnxRuntimeRunner
from nd_deploy.runtime.options import ORT_CPU, ORT_TENSORRT, RunOptions

RNG = np.random.default_rng(0)


def weights(**shapes):
    return [
        numpy_helper.from_array(RNG.standard_normal(shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]


def saved(folder, nodes, initializers):
    """A model from (N, 4, 8, 8) x to the last node's output y."""
    shape = ["N", 4, 8, 8]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        initializers,
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("nd_deploy", 1)]
    path = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


def node(op, name, inputs, output, layers=None, **attributes):
    made = helper.make_node(op, inputs.split(), [output], name, **attributes)
    if layers is not None:
        made.metadata_props.add(key="nd_deploy.layers", value=layers)
    return made


def times(path, nd_layers, runtime=ORT_CPU, runs=2):
    feeds = {"x": RNG.standard_normal((2, 4, 8, 8)).astype(np.float32)}
    options = RunOptions(options={"threads": "1"})
    job = Job(Contestant("m", runtime, 2), path, None, options, feeds)
    return layer_times(job, runs, nd_layers)


def test_a_folded_model_s_layers_are_found_through_fusions(tmp_path):
    nodes = [
        node("Conv", "first", "x w1 b1", "_a", "first"),
        node("Relu", "node_relu", "_a", "relu"),
        node("Conv", "second", "relu w2 b2", "_b", "second"),
        node("GlobalAveragePool", "pool", "_b", "pooled"),
        node("Flatten", "flatten", "pooled", "flat"),
        node("Gemm", "last", "flat w3 b3", "y", "norm,last"),
    ]
    shapes = {"w1": (32, 4, 3, 3), "b1": 32, "w2": (32, 32, 3, 3), "b2": 32, "w3": (32, 5), "b3": 5}
    found = times(saved(tmp_path, nodes, weights(**shapes)), ("first", "second", "norm", "last"))
    assert [layer.nd_layer for layer in found if layer.nd_layer] == ["first", "second", "last"]
    ops = {layer.name: layer.op for layer in found}
    # Whether it fuses in the layout of blocks depends on the processor.
    assert ops["first"] in ("Conv + Relu", "FusedConv")
    assert ops["second"] == "Conv"
    assert ops["last"] == "Gemm"
    assert "node_relu" not in ops
    assert all(layer.seconds >= 0 for layer in found)
    assert sum(layer.seconds for layer in found) > 0


def test_a_naive_export_s_layers_are_found_by_the_path_in_their_names(tmp_path):
    nodes = [
        node("MatMul", "conv1/MatMul_0", "w1 d1", "w1d", None),
        node("Reshape", "conv1/Reshape_1", "w1d kernel", "w1f", None),
        node("Conv", "conv1/Conv_2", "x w1f", "a", None),
        node("Conv", "conv10/Conv_3", "a w2", "b", None),
        node("Mul", "Mul_4", "b b", "y", None),
    ]
    kernel = numpy_helper.from_array(np.array([8, 4, 3, 3]), "kernel")
    shapes = {"w1": (8, 36), "d1": (36, 36), "w2": (8, 8, 1, 1)}
    found = times(saved(tmp_path, nodes, [*weights(**shapes), kernel]), ("conv1", "conv10"))
    # What is computed from weights alone is folded away when the model is loaded.
    own = {layer.name: layer.nd_layer for layer in found if not layer.name.startswith("Reorder")}
    assert own == {"conv1/Conv_2": "conv1", "conv10/Conv_3": "conv10", "Mul_4": None}


def test_layers_with_function_bodies_are_told_apart(tmp_path):
    nodes = [
        node("NDChannelDeconv", name, f"{source} mean deconv", target, None, domain="nd_deploy")
        for name, source, target in (("norm1", "x", "a"), ("norm2", "a", "y"))
    ]
    path = saved(tmp_path, nodes, weights(mean=2, deconv=(2, 2)))
    model = onnx.load(path)
    dialect.attach_functions(model)
    onnx.save(model, path)
    before = path.read_bytes()
    found = times(path, ("norm1", "norm2"))
    counts = [sum(layer.nd_layer == name for layer in found) for name in ("norm1", "norm2")]
    assert counts[0] == counts[1] > 2
    assert {layer.op for layer in found if layer.nd_layer == "norm2"} >= {"MatMul", "Reshape"}
    assert path.read_bytes() == before


def test_the_temporary_trace_is_gone_afterwards(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    times(saved(tmp_path, [node("Relu", "r", "x", "y")], []), ())
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_runner_writes_a_trace_only_if_asked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = parser.parse_model(
        '<ir_version: 10, opset_import: ["": 20]> g (float[N] x) => (float[N] y) { y = Relu(x) }'
    )
    feeds = {"x": np.ones(3, np.float32)}
    OnnxRuntimeRunner(model).run(feeds)
    assert list(tmp_path.iterdir()) == []
    runner = OnnxRuntimeRunner(model, trace=tmp_path / "trace")
    runner.run(feeds)
    trace = runner.end_trace()
    assert trace.parent == tmp_path
    assert trace.name.startswith("trace")
    assert "Relu" in trace.read_text()


def test_the_first_runs_do_not_count(tmp_path, monkeypatch):
    module = importlib.import_module("nd_deploy.profiling.layers.ort_layers")
    asked = []
    monkeypatch.setattr(module, "node_times", lambda trace, *runs: asked.append(runs) or {})
    assert times(saved(tmp_path, [node("Relu", "r", "x", "y")], []), (), runs=4) == ()
    assert asked == [(3, 4)]


@pytest.mark.parametrize("runs", [0, -2])
def test_runs_that_are_none_are_refused(tmp_path, runs):
    with pytest.raises(InputError, match=f"in {runs} runs"):
        times(tmp_path / "absent.onnx", (), runs=runs)


def test_the_tensorrt_provider_is_refused_before_an_engine_is_built(tmp_path):
    with pytest.raises(BackendError, match="as one node") as caught:
        times(tmp_path / "absent.onnx", (), ORT_TENSORRT)
    assert "--runtime tensorrt" in caught.value.remedy


def test_medians_are_over_runs_and_nothing_stands_for_what_did_not_run():
    runs = [{"a": 3.0, "b": 1.0}, {"a": 9.0}, {"a": 5.0, "c": 4.0}]
    assert median_of_runs(runs) == {"a": 5.0, "b": 0.0, "c": 0.0}
