"""The small operations on a graph that passes are made of."""

import numpy as np
import onnx_graphsurgeon as gs
import pytest
from graphs import assert_close, assert_same_outputs, feeds, in_float64, parse

from nd_deploy.passes.base import Refusal
from nd_deploy.passes.graph import (
    bypass,
    constants,
    free_name,
    is_output,
    parameters,
    rank,
    static_dim,
    write_parameter,
)
from nd_deploy.passes.model import load, split_parameters, store
from nd_deploy.runtime.reference import ReferenceRunner

SHARED = """(float[N,3,H,W] x) => (float[] y, float[] z) <float[4,3,1,1] weight, float[4] bias>
    { y = Conv(x, weight, bias) z = Conv <pads=[1,1,1,1]> (x, weight) }"""


def test_a_parameter_of_one_reader_is_overwritten():
    graph = load(parse(SHARED))
    first = graph.nodes[0]
    write_parameter(graph, first, 2, np.ones(4))
    assert first.inputs[2].name == "bias"
    assert np.array_equal(first.inputs[2].values, np.ones(4))


def test_a_shared_parameter_is_left_to_its_other_readers():
    graph = load(parse(SHARED))
    first, second = graph.nodes
    before = second.inputs[1].values.copy()
    write_parameter(graph, first, 1, np.zeros((4, 3, 1, 1)))
    assert first.inputs[1].name == "weight_1"
    assert np.array_equal(second.inputs[1].values, before)


def test_a_parameter_that_one_node_reads_twice_is_shared():
    graph = load(
        parse(
            """(float[N,4] x) => (float[] y) <float[4,4] weight, float[4] row>
            { p = Gemm(x, weight, row) y = BatchNormalization(p, row, row, row, row) }"""
        )
    )
    gemm, norm = graph.nodes
    write_parameter(graph, gemm, 2, np.zeros(4))
    write_parameter(graph, norm, 1, np.ones(4))
    assert [t.name for t in norm.inputs[1:]] == ["row_2", "row", "row", "row"]
    assert gemm.inputs[2].name == "row_1"


def test_a_parameter_that_is_an_output_is_left_to_the_user():
    graph = load(parse(SHARED))
    first = graph.nodes[0]
    graph.outputs.append(first.inputs[2])
    write_parameter(graph, first, 2, np.ones(4))
    assert first.inputs[2].name == "bias_1"


def test_a_parameter_that_is_missing_is_added():
    graph = load(parse(SHARED))
    second = graph.nodes[1]
    write_parameter(graph, second, 2, np.ones(4))
    assert [t.name for t in second.inputs] == ["x", "weight", "Conv_1.bias"]


def test_parameters_are_read_as_they_are():
    graph = load(parse(SHARED))
    weight, bias = parameters(graph.nodes[0])
    assert (weight.shape, bias.shape) == ((4, 3, 1, 1), (4,))
    assert parameters(graph.nodes[0], start=2)[0] is bias
    assert parameters(graph.nodes[0], start=0) == Refusal("x is computed at run time")


def test_constants_are_listed_once_in_order_of_use():
    assert [t.name for t in constants(load(parse(SHARED)))] == ["weight", "bias"]


def test_sizes_are_known_or_none():
    graph = load(
        parse(
            """(float[N,3,H,5] x, int64[axes] shape) => (float[a,b] z)
            { y = Reshape(x, shape) z = Abs(y) }"""
        )
    )
    x, y = graph.inputs[0], graph.nodes[0].outputs[0]
    assert [static_dim(x, axis) for axis in range(5)] == [None, 3, None, 5, None]
    assert (rank(x), rank(y), static_dim(y, 0)) == (4, None, None)


@pytest.mark.parametrize(
    ("taken", "name"), [([], "w"), (["w"], "w_1"), (["w", "w_1", "w_3"], "w_2"), (["w_1"], "w")]
)
def test_a_name_that_is_taken_gets_a_number(taken, name):
    assert free_name(taken, "w") == name


def test_a_node_in_the_middle_is_bypassed_for_every_reader():
    graph = load(
        parse(
            """(float[N] x) => (float[N] y, float[N] z)
            { a = Abs(x) b = Neg(a) y = Add(b, b) z = Relu(b) }"""
        )
    )
    bypass(graph, graph.nodes[1])
    expected = parse(
        """(float[N] x) => (float[N] y, float[N] z) { a = Abs(x) y = Add(a, a) z = Relu(a) }"""
    )
    assert_same_outputs(expected, graph, feeds(expected))


def test_a_node_that_makes_an_output_leaves_its_name_to_the_node_in_front():
    graph = load(
        parse(
            """(float[N] x) => (float[N] y, float[N] z, float[N] u)
            { a = Abs(x) u = Relu(a) y = Neg(a) z = Sqrt(y) }"""
        )
    )
    bypass(graph, graph.nodes[2])
    expected = parse(
        """(float[N] x) => (float[N] y, float[N] z, float[N] u)
        { y = Abs(x) u = Relu(y) z = Sqrt(y) }"""
    )
    assert [node.op for node in graph.nodes] == ["Abs", "Relu", "Sqrt"]
    assert_same_outputs(expected, graph, feeds(expected))
    assert is_output(graph, graph.nodes[0].outputs[0])


LARGE = """(float[N,8] x) => (float[N,8] y) <float[8,8] small, float[8,9] large, float[9,8] other>
    { a = MatMul(x, small) b = MatMul(a, large) y = MatMul(b, other) }"""


def test_large_parameters_become_inputs_that_share_the_graphs_memory():
    model = parse(LARGE)
    graph = load(model)
    light, found = split_parameters(graph)
    assert list(found) == ["large", "other"]
    assert [t.name for t in light.graph.input] == ["x", "large", "other"]
    assert [t.name for t in light.graph.initializer] == ["small"]
    held = {t.name: t.values for t in constants(graph)}
    assert all(np.shares_memory(values, held[name]) for name, values in found.items())
    inputs = feeds(model)
    assert_close(ReferenceRunner(light, found).run(inputs), in_float64(model, inputs), 0)


def test_splitting_leaves_the_graph_as_it_is():
    graph = load(parse(LARGE))
    split_parameters(graph)
    assert [t.name for t in graph.inputs] == ["x"]
    assert all(isinstance(t, gs.Constant) for t in constants(graph))
    assert len(store(graph).graph.initializer) == 3


def test_parameters_are_split_in_the_precision_that_they_have():
    graph = load(parse(LARGE))
    write_parameter(graph, graph.nodes[1], 1, np.ones((8, 9)))
    _, found = split_parameters(graph)
    assert {name: a.dtype for name, a in found.items()} == {
        "large": np.dtype(np.float64),
        "other": np.dtype(np.float32),
    }
