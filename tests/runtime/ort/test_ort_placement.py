"""On the sessions of ONNX Runtime itself, where a provider that takes nothing stands for a GPU."""

import numpy as np
import onnxruntime
import pytest
from onnx import numpy_helper, parser

from nd_deploy.errors import BackendError
from nd_deploy.runtime.onnxruntime import OnnxRuntimeRunner
from nd_deploy.runtime.ort.placement import (
    PlacedNode,
    count_nodes,
    require_placement,
    require_plugins,
)
from nd_deploy.runtime.ort.shape_nodes import find_shape_nodes

AZURE, CPU, CUDA = (f"{name}ExecutionProvider" for name in ("Azure", "CPU", "CUDA"))

MODEL = """
<ir_version: 10, opset_import: ["": 21, "nd_deploy": 1]>
network (float[N, C] x) => (float[N, C] y, int64[1] size)
{
    [front] a = Relu (x)
    [norm5] b = nd_deploy.NDCentre (a)
    [shape] s = Shape <start: int = 1, end: int = 2> (b)
    [halve] size = Add (s, s)
    [compare] same = Equal (size, s)
    y = Identity (b)
}
<domain: "nd_deploy", opset_import: ["": 21]>
NDCentre (x) => (y)
{
    [c_two] two = Constant <value_ints: ints = [2]> ()
    [channels] c = Shape <start: int = 1, end: int = 2> (x)
    [group] g = Div (c, two)
    [wide] wide = CastLike (g, x)
    [product] p = Mul (x, wide)
    [rounded] y = CastLike (p, x)
}
"""
COUNTING = """
<ir_version: 10, opset_import: ["": 21]>
g (float[N] x, float[N] w) => (float[N] y, int64[1] z, float[N] last, int64[K] top)
{
    y = Add (x, x)
    s = Shape (x)
    z = Add (s, s)
    t = Sub (s, s)
    [largest] top = NonZero (x)
    [weights] v = Mul (w, w)
    [loop] last = Loop (one, always, x) <body: graph = b (int64 i, bool c, float[N] state)
        => (bool next, float[N] more)
        { [kept] next = Identity (c) [inside] more = Mul (state, v) [of_weights] u = Mul (v, v) }>
}
"""


@pytest.fixture(scope="module")
def model():
    return parser.parse_model(MODEL)


@pytest.fixture(scope="module")
def counting():
    proto = parser.parse_model(COUNTING)
    for name, value in (("w", np.ones(2, np.float32)), ("one", np.int64(1)), ("always", True)):
        proto.graph.initializer.append(numpy_helper.from_array(np.array(value), name))
    return proto


def test_shapes_are_told_from_values_inside_function_bodies_too(model):
    found = find_shape_nodes(model)
    assert set(found.shapes) == {
        ("Shape", "shape"),
        ("Add", "halve"),
        ("Equal", "compare"),
        ("Constant", "_inlfunc_NDCentre_c_two"),
        ("Shape", "_inlfunc_NDCentre_channels"),
        ("Div", "_inlfunc_NDCentre_group"),
        ("Cast", ""),
    }
    assert found.values[("Cast", "")] == 1
    assert found.values[("Mul", "_inlfunc_NDCentre_product")] == 1
    assert found.values[("Relu", "front")] == 1


def test_integers_that_depend_on_values_and_loops_that_carry_them_compute_values(counting):
    found = find_shape_nodes(counting)
    assert {name for _, name in found.values if name} == {"largest", "loop", "inside", "kept"}
    assert {name for _, name in found.shapes if name} == {"weights", "of_weights"}


def test_of_nodes_without_a_name_as_many_pass_as_compute_shapes(counting):
    found = find_shape_nodes(counting)
    assert found.without([("Add", ""), ("Sub", ""), ("Shape", "")]) == []
    assert found.without([("Add", ""), ("Add", "")]) == [1]


def test_a_node_with_a_name_passes_in_every_copy(counting):
    found = find_shape_nodes(counting)
    assert found.without([("Mul", "weights")] * 3) == []
    assert found.without([("Mul", "inside")]) == [0]


def test_onnxruntime_lists_the_nodes_of_a_body_under_these_names(model):
    settings = onnxruntime.SessionOptions()
    settings.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), settings, providers=[CPU])
    parts = session.get_provider_graph_assignment_info()
    listed = {(node.op_type, node.name) for part in parts for node in part.get_nodes()}
    found = find_shape_nodes(model)
    assert ("Mul", "_inlfunc_NDCentre_product") in listed
    assert ("Div", "_inlfunc_NDCentre_group") in listed
    assert listed <= set(found.shapes) | set(found.values)


def test_what_nobody_knows_computes_values_but_for_shape_itself(model):
    found = find_shape_nodes(model)
    assert found.without([("Shape", "made_up"), ("Mul", "made_up")]) == [1]


def test_a_session_that_computes_elsewhere_names_the_nd_layers_first(model):
    with pytest.raises(BackendError) as caught:
        OnnxRuntimeRunner(model, [AZURE], optimise=False)
    said = caught.value.problem
    assert caught.value.exit_code == 3
    assert f"to {CPU}" in said
    assert said.index("_inlfunc_NDCentre_product (Mul)") < said.index("front (Relu)")
    assert "_inlfunc_NDCentre_group" not in said
    assert "halve" not in said


def test_shapes_may_stay_on_the_cpu(model):
    placed = [
        PlacedNode(CUDA, "front", "Relu"),
        PlacedNode(CUDA, "norm5", "NDChannelDeconv"),
        PlacedNode(CPU, "halve", "Add"),
        PlacedNode(CPU, "_inlfunc_NDCentre_group", "Div"),
    ]
    require_placement(placed, [CUDA], model)
    assert count_nodes(placed) == {CPU: 2, CUDA: 2}


@pytest.mark.parametrize(
    ("name", "op_type"),
    [
        ("norm5", "NDChannelDeconv"),
        ("_inlfunc_NDChannelDeconv_y_blocks", "MatMul"),
    ],
)
def test_an_nd_layer_on_the_cpu_is_named_before_everything_else(model, name, op_type):
    placed = [
        *(PlacedNode(CPU, f"other_{place}", "Relu") for place in range(9)),
        PlacedNode(CPU, name, op_type),
    ]
    with pytest.raises(BackendError) as caught:
        require_placement(placed, [CUDA], model)
    assert f"gives {name} ({op_type}), other_0" in caught.value.problem
    assert "and 5 more" in caught.value.problem
    assert "--target inlined" in caught.value.remedy


def test_what_was_asked_for_may_be_used(model):
    require_placement([PlacedNode(CPU, "front", "Relu")], [CUDA, CPU], model)


def test_a_body_where_a_plugin_library_was_given_is_an_error(model):
    # NDCentre has no plugin, so that its body is no surprise.
    require_plugins([PlacedNode(CUDA, "", "Mul")], model)
    two = parser.parse_model(
        '<ir_version: 10, opset_import: ["": 21, "trt.plugins": 1]>'
        "g (float[N] x) => (float[N] y)"
        "{ z = trt.plugins.NDChannelDeconv (x) y = trt.plugins.NDChannelDeconv (z) }"
    )
    taken = PlacedNode(CUDA, "", "NDChannelDeconv")
    require_plugins([taken, taken, PlacedNode(CUDA, "front", "Relu")], two)
    with pytest.raises(BackendError) as caught:
        require_plugins([taken, PlacedNode(CUDA, "", "MatMul")], two)
    assert "runs the function body of NDChannelDeconv, and not" in caught.value.problem
    assert "--target ort-tensorrt" in caught.value.remedy
