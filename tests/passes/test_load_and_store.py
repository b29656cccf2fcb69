"""A model on its way into the passes' form and back."""

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from graphs import assert_close, feeds, geometry, in_float64, in_onnxruntime, parse
from onnx import TensorProto, numpy_helper

from nd_deploy import __version__
from nd_deploy.errors import GraphError
from nd_deploy.passes.model import load, narrow, store, to_model

CONV = """(float[N,3,H,W] x) => (float[N,4,H,W] y) <float[4,3,3,3] weight, float[4] bias>
    { c = Conv <pads=[1,1,1,1]> (x, weight, bias) y = Relu(c) }"""
BRANCH = """(float[N,4] x, bool positive) => (float[N,4] y) <float[4] outer>
    {
        s = Add(x, outer)
        y = If (positive) <
            then_branch = one () => (float[N,4] b) <float[4] inner = {1.5, -2.0, 0.25, 3.0}>
            {
                half = Constant <value_float=0.5> ()
                scaled = Mul(s, half)
                wide = Cast <to=1> (scaled)
                b = Add(wide, inner)
            },
            else_branch = other () => (float[N,4] c)
            {
                two = Constant <value = float[1] {2.0}> ()
                c = Mul(s, two)
            }
        >
    }"""


def arrays(model):
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}


def attribute(model, op, name):
    (node,) = [n for n in model.graph.node if n.op_type == op]
    (found,) = [a for a in node.attribute if a.name == name]
    return onnx.helper.get_attribute_value(found)


def test_float32_weights_come_back_bit_by_bit():
    odd = np.array([-0.0, 1e-45, np.inf, np.float32(0.1)], np.float32)
    model = parse(CONV, bias=odd)
    graph = load(model)
    single = arrays(store(graph))
    assert single["bias"].tobytes() == odd.tobytes()
    assert single["weight"].tobytes() == arrays(model)["weight"].tobytes()
    again = arrays(store(load(store(graph, np.float64))))
    assert again["weight"].tobytes() == arrays(model)["weight"].tobytes()


def test_a_model_can_be_stored_in_double():
    model = parse(CONV)
    double = store(load(model), np.float64)
    onnx.checker.check_model(double, full_check=True)
    assert {t.data_type for t in double.graph.initializer} == {TensorProto.DOUBLE}
    ports = [*double.graph.input, *double.graph.output]
    assert {p.type.tensor_type.elem_type for p in ports} == {TensorProto.DOUBLE}
    assert_close(in_float64(double, feeds(model)), in_float64(model, feeds(model)), 0)


def test_inputs_outputs_and_versions_stay():
    model = parse(CONV, opset=20)
    stored = store(load(model))
    assert stored.graph.input == model.graph.input
    assert stored.graph.output == model.graph.output
    assert (stored.ir_version, stored.opset_import[0].version) == (10, 20)
    assert (stored.producer_name, stored.producer_version) == ("nd-deploy", __version__)


def test_storing_leaves_the_graph_as_it_is():
    graph = load(parse(BRANCH))
    store(graph, np.float64)
    one, other = graph.subgraphs()
    kinds = {t.dtype for part in (graph, one, other) for t in part.tensors().values()}
    assert kinds == {np.dtype(np.float32), np.dtype(bool)}
    assert one.nodes[0].attrs == {"value_float": 0.5}
    assert other.nodes[0].attrs["value"].dtype == np.float32


def test_narrowing_casts_in_place():
    model = parse(CONV)
    graph = load(store(load(model), np.float64))
    narrow(graph)
    assert {t.dtype for t in graph.tensors().values()} == {np.dtype(np.float32)}
    assert_close(in_float64(to_model(graph), feeds(model)), in_float64(model, feeds(model)), 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_scales_of_a_resize_stay_float32(dtype):
    model = parse(
        """(float[N,3,H,W] x) => (float[] y) <float[4] scales, float scale>
        { r = Resize(x, , scales) y = Mul(r, scale) }""",
        scales=[1, 1, 2, 2],
    )
    stored = arrays(store(load(model), dtype))
    assert stored["scales"].dtype == np.float32
    assert stored["scale"].dtype == dtype
    onnx.checker.check_model(store(load(model), dtype), full_check=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_casts_between_single_and_double_follow_the_network(dtype):
    model = parse("(int64[N] x) => (float[N] y) { f = Cast <to=1> (x) y = Neg(f) }")
    stored = store(load(model), dtype)
    code = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    assert attribute(stored, "Cast", "to") == code
    onnx.checker.check_model(stored, full_check=True)


@pytest.mark.parametrize("code", [TensorProto.FLOAT16, TensorProto.INT64, TensorProto.BOOL])
def test_other_casts_stay(code):
    model = parse(
        f"(float[N] x) => (float[N] y) {{ f = Cast <to={code}> (x) y = Cast <to=1> (f) }}"
    )
    stored = store(load(model), np.float64)
    assert onnx.helper.get_attribute_value(stored.graph.node[0].attribute[0]) == code


def test_a_tensor_that_is_an_attribute_is_cast_too():
    model = parse(
        """(int64[2] shape, float[N] x) => (float[] y)
        { c = ConstantOfShape <value = float[1] {0.5}> (shape) y = Neg(c) }"""
    )
    value = attribute(store(load(model), np.float64), "ConstantOfShape", "value")
    assert numpy_helper.to_array(value).dtype == np.float64
    value = attribute(store(load(model)), "ConstantOfShape", "value")
    assert numpy_helper.to_array(value).dtype == np.float32


def test_a_large_table_of_strings_stays():
    names = [f"name {i}" for i in range(100)]
    model = parse(
        "(int64[N] x) => (string[N] y) <string[100] table> { y = Gather(table, x) }", table=names
    )
    stored = store(load(model))
    onnx.checker.check_model(stored, full_check=True)
    inputs = {"x": np.array([3, 99, 0])}
    assert in_onnxruntime(stored, inputs)["y"].tolist() == ["name 3", "name 99", "name 0"]


@pytest.mark.parametrize("kind", ["bfloat16", "float16", "bool", "int32"])
def test_a_large_parameter_of_another_type_stays(kind):
    model = parse(
        f"({kind}[N] x) => ({kind}[] y) <{kind}[80] table> {{ y = Concat <axis=0> (table, x) }}"
    )
    before, after = arrays(model)["table"], arrays(store(load(model)))["table"]
    assert (after.dtype, after.tobytes()) == (before.dtype, before.tobytes())


def test_parameters_of_other_types_stay():
    model = parse(
        """(float[N,4] x) => (float[] y) <float16[4] half, int64[1] axes>
        { h = Cast <to=1> (half) s = Add(x, h) y = ReduceSum(s, axes) }""",
        axes=[1],
    )
    stored = arrays(store(load(model), np.float64))
    assert {name: a.dtype for name, a in stored.items()} == {"half": np.float16, "axes": np.int64}


@pytest.mark.parametrize("positive", [True, False])
def test_branches_are_converted_with_the_graph(positive):
    model = parse(BRANCH)
    inputs = feeds(model) | {"positive": np.array(positive)}
    expected = in_onnxruntime(model, inputs)
    assert_close(in_onnxruntime(store(load(model)), inputs), expected, 0)
    double = store(load(model), np.float64)
    onnx.checker.check_model(double, full_check=True)
    assert_close(in_float64(double, inputs), in_float64(model, inputs), 0)
    wide = {
        name: a.astype(np.float64) if a.dtype == np.float32 else a for name, a in inputs.items()
    }
    assert_close(in_onnxruntime(double, wide), expected, 1e-6)
    assert_close(in_onnxruntime(store(load(double)), inputs), expected, 0)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("value_float=0.5", np.float32(0.5)),
        ("value_floats=[0.5, 2.0]", np.array([0.5, 2], np.float32)),
        ("value_int=3", np.int64(3)),
        ("value_ints=[3, -4]", np.array([3, -4])),
        ("value = float[1,2] {0.5, 2.0}", np.array([[0.5, 2]], np.float32)),
        ("value = bool[1] {1}", np.array([True])),
    ],
)
def test_a_constant_node_becomes_a_constant(value, expected):
    graph = load(
        parse(
            f"(float[N] x) => (float[] y) {{ c = Constant <{value}> () y = Equal(c, c) }}".replace(
                "(float[] y)", "(bool[] y)"
            )
        )
    )
    (node,) = graph.nodes
    constant = node.inputs[0]
    assert isinstance(constant, gs.Constant)
    assert constant.values.dtype == expected.dtype
    assert np.array_equal(constant.values, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_constant_that_is_an_output_stays_a_node(dtype):
    model = parse("(float[N] x) => (float[2] y) { y = Constant <value_floats=[0.5, 2.0]> () }")
    stored = store(load(model), dtype)
    assert [node.op_type for node in stored.graph.node] == ["Constant"]
    onnx.checker.check_model(stored, full_check=True)


def test_a_constant_of_strings_stays_a_node():
    model = parse(
        """(int64[N] x) => (string[N] y)
        { c = Constant <value_strings=["a", "b"]> () y = Gather(c, x) }"""
    )
    assert [node.op for node in load(model).nodes] == ["Constant", "Gather"]


def test_every_node_gets_a_name_of_its_own():
    model = parse(
        """(float[N] x) => (float[N] y)
        { [same] a = Abs(x) [same] b = Abs(a) c = Relu(b) [Relu] d = Relu(c) y = Neg(d) }"""
    )
    graph = load(model)
    assert [n.name for n in graph.nodes] == ["same", "same_1", "Relu_1", "Relu", "Neg"]


def test_a_model_that_is_not_valid_is_refused_with_the_reason():
    model = parse(CONV)
    model.graph.node[0].attribute[0].ints.append(1)
    with pytest.raises(GraphError, match="the model is not valid ONNX"):
        load(model)


def test_a_model_keeps_the_functions_of_others():
    model = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["": 18, "local": 1, "nd_deploy": 1]>
        network (float[N,4] x) => (float[N,4] y) { a = local.Twice(x) y = Relu(a) }
        <domain: "local", opset_import: ["": 18]>
        Twice (x) => (y) { y = Add(x, x) }"""
    )
    stored = store(load(model))
    assert [f.name for f in stored.functions] == ["Twice"]
    assert_close(in_onnxruntime(stored, feeds(model)), in_onnxruntime(model, feeds(model)), 0)


def test_a_model_has_bodies_for_the_dialect_ops_that_are_left_in_it():
    model = parse(
        f"""(float[N,4,H,W] x) => (float[] y)
        <float[5,4,1,1] weight, float[5] bias, float[1,4] mu, float[1,4,4] D>
        {{ y = nd_deploy.NDFastDeconv <{geometry(1)}> (x, weight, bias, mu, D) }}"""
    )
    stored = store(load(model))
    assert [f.name for f in stored.functions] == ["NDFastDeconv"]
    assert_close(in_onnxruntime(stored, feeds(model)), in_onnxruntime(model, feeds(model)), 0)
    graph = load(model)
    graph.nodes[0].op, graph.nodes[0].domain = "Conv", None
    graph.nodes[0].inputs = list(graph.nodes[0].inputs)[:3]
    stored = store(graph)
    assert not stored.functions
    assert [o.domain for o in stored.opset_import] == [""]
