import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper, parser

from nd_deploy.errors import InputError
from nd_deploy.nd import dialect
from nd_deploy.precision import cast
from nd_deploy.runtime.reference import ReferenceRunner

TEXT = """<ir_version: 10, opset_import: ["": 18, "nd_deploy": 1]>
network (float[N,6,8,8] x, int64[1] k) => (float[N,4,16,16] y, int64[1] same) {
    [conv] a = Conv <pads = [1,1,1,1]> (x, weight, bias)
    [white] b = nd_deploy.NDChannelDeconv(a, mean, deconv)
    [up] y = Resize <mode = "nearest"> (b, , scales)
    same = Identity(k)
}"""
X = np.random.default_rng(1).normal(size=(2, 6, 8, 8)).astype(np.float32)


def network(**changed):
    rng = np.random.default_rng(0)
    parameters = {
        "weight": rng.normal(size=(4, 6, 3, 3)) / 8,
        "bias": rng.normal(size=4),
        "mean": rng.normal(size=2),
        "deconv": np.eye(2) + rng.normal(size=(2, 2)) / 4,
        "scales": np.asarray([1, 1, 2, 2]),
    } | changed
    model = parser.parse_model(TEXT)
    for name, values in parameters.items():
        tensor = numpy_helper.from_array(np.asarray(values, np.float32), name)
        model.graph.initializer.append(tensor)
    dialect.register_schemas()
    dialect.attach_functions(model)
    return model


def types(model):
    return {t.name: t.data_type for t in model.graph.initializer}


@pytest.mark.parametrize(
    ("dtype", "code"), [("float16", TensorProto.FLOAT16), ("bfloat16", TensorProto.BFLOAT16)]
)
def test_weights_become_narrow_and_statistics_and_ports_stay_wide(dtype, code):
    model = network()
    before = model.SerializeToString(deterministic=True)
    narrow = cast(model, dtype)
    assert model.SerializeToString(deterministic=True) == before
    assert types(narrow) == {
        "weight": code,
        "bias": code,
        "mean": TensorProto.FLOAT,
        "deconv": TensorProto.FLOAT,
        "scales": TensorProto.FLOAT,
    }
    ports = [*narrow.graph.input, *narrow.graph.output]
    assert [p.name for p in ports] == ["x", "k", "y", "same"]
    assert {p.type.tensor_type.elem_type for p in ports} == {TensorProto.FLOAT, TensorProto.INT64}
    casts = [n for n in narrow.graph.node if n.op_type == "Cast"]
    assert [(list(n.input), list(n.output), n.attribute[0].i) for n in casts] == [
        (["x"], ["x.narrow"], code),
        (["y.narrow"], ["y"], TensorProto.FLOAT),
    ]


def test_a_float16_model_is_valid_onnx():
    """A bfloat16 one is for TensorRT alone: the standard has its convolutions from opset 22 on."""
    narrow = cast(network(), "float16")
    onnx.checker.check_model(narrow, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(narrow, strict_mode=True)
    inside = {v.name: v.type.tensor_type.elem_type for v in inferred.graph.value_info}
    assert {inside[name] for name in ("a", "b", "y.narrow")} == {TensorProto.FLOAT16}


def test_in_float16_the_network_is_off_by_float16_roundings_and_no_more():
    truth = ReferenceRunner(network()).run({"x": X, "k": np.asarray([7])})["y"]
    session = onnxruntime.InferenceSession(
        cast(network(), "float16").SerializeToString(), providers=["CPUExecutionProvider"]
    )
    y, same = session.run(None, {"x": X, "k": np.asarray([7])})
    assert y.dtype == np.float32
    assert same == [7]
    error = np.abs(y - truth).max() / np.abs(truth).max()
    # Weights, inputs and outputs are each rounded to 11 bits.
    assert 1e-5 < error < 4 * 2.0**-11


def test_a_weight_that_both_kinds_of_reader_share_is_kept_in_both_types():
    model = network()
    # The scales of the resizing are the convolution's bias as well.
    model.graph.node[0].input[2] = "scales"
    narrow = cast(model, "float16")
    assert types(narrow)["scales"] == TensorProto.FLOAT
    assert types(narrow)["scales.float16"] == TensorProto.FLOAT16
    onnx.checker.check_model(narrow, full_check=True)


def test_a_weight_beyond_the_type_is_refused_with_its_layer():
    weight = np.zeros((4, 6, 3, 3))
    weight[1, 2, 1, 0] = -7e4
    with pytest.raises(InputError, match=r"layer conv: a weight of 7e\+04 does not fit float16"):
        cast(network(weight=weight), "float16")
    assert types(cast(network(weight=weight), "bfloat16"))["weight"] == TensorProto.BFLOAT16


def test_infinity_is_nothing_that_a_cast_loses():
    narrow = cast(network(bias=[0, np.inf, -np.inf, np.nan]), "float16")
    (bias,) = [t for t in narrow.graph.initializer if t.name == "bias"]
    assert np.array_equal(
        numpy_helper.to_array(bias), np.asarray([0, np.inf, -np.inf, np.nan], np.float16), True
    )


def test_another_type_and_branches_are_refused():
    with pytest.raises(InputError, match="cannot be cast to 'int8'"):
        cast(network(), "int8")
    branch = parser.parse_model(
        """<ir_version: 10, opset_import: ["": 18]>
        n (float[N] x, bool c) => (float[N] y) {
            [fork] y = If (c) < then_branch = one () => (float[N] a) { a = Abs(x) },
                                else_branch = two () => (float[N] b) { b = Neg(x) } >
        }"""
    )
    with pytest.raises(InputError, match="If 'fork' has branches"):
        cast(branch, "float16")
