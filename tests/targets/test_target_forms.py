import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper, parser

from nd_deploy.errors import GraphError, InputError
from nd_deploy.nd import dialect
from nd_deploy.targets import TARGETS, find_target, fit, portable

TEXT = """<ir_version: 10, opset_import: ["": 18, "nd_deploy": 1]>
network (float[N,6,H,W] x) => (float[N,6,H,W] y) {
    a = Sigmoid(x)
    [white] b = nd_deploy.NDChannelDeconv(a, mean, deconv)
    y = Tanh(b)
}"""
PARAMETERS = {
    "mean": np.asarray([0.25, -0.5], np.float32),
    "deconv": np.asarray([[2.0, 0.5], [0.25, 3.0]], np.float32),
}
X = np.random.default_rng(0).normal(size=(2, 6, 3, 4)).astype(np.float32)


def unfolded():
    model = parser.parse_model(TEXT)
    for name, values in PARAMETERS.items():
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    dialect.attach_functions(model)
    return model


def computed(model):
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (y,) = session.run(None, {"x": X})
    return y


def defined():
    """By definition: block g holds the channels g, g + 3."""
    a = 1 / (1 + np.exp(-X.astype(np.float64)))
    y = np.empty_like(a)
    for group in range(3):
        centred = a[:, group::3] - PARAMETERS["mean"].reshape(1, 2, 1, 1)
        y[:, group::3] = np.einsum("ef,nfhw->nehw", PARAMETERS["deconv"], centred)
    return np.tanh(y)


def domains(model):
    return {o.domain for o in model.opset_import}


@pytest.mark.parametrize("name", ["portable", "tensorrt"])
def test_one_file_with_bodies_and_plugin_names_serves_most_hosts(name):
    model = fit(unfolded(), TARGETS[name])
    assert [f.name for f in model.functions] == ["NDChannelDeconv"]
    (node,) = dialect.dialect_nodes(model)
    assert {a.name for a in node.attribute} == {"plugin_namespace", "plugin_version"}
    onnx.checker.check_model(model, full_check=True)
    np.testing.assert_allclose(computed(model), defined(), atol=1e-6)


def test_up_to_tensorrt_10_6_a_body_would_win_over_the_plugin_so_there_is_none():
    model = fit(unfolded(), TARGETS["tensorrt<=10.6"])
    assert not model.functions
    assert domains(model) == {"", "nd_deploy"}
    np.testing.assert_allclose(computed(portable(model)), defined(), atol=1e-6)


def test_onnxruntimes_tensorrt_provider_finds_plugins_in_a_domain_of_its_own():
    model = fit(unfolded(), TARGETS["ort-tensorrt"])
    assert [(f.domain, f.name) for f in model.functions] == [("trt.plugins", "NDChannelDeconv")]
    assert domains(model) == {"", "trt.plugins"}
    assert [n.domain for n in model.graph.node] == ["", "trt.plugins", ""]
    # Its CPU provider still runs the body.
    np.testing.assert_allclose(computed(model), defined(), atol=1e-6)
    back = portable(model)
    assert domains(back) == {"", "nd_deploy"}
    assert back.SerializeToString(deterministic=True) == unfolded().SerializeToString(
        deterministic=True
    )


def test_written_out_there_is_nothing_but_standard_ops():
    model = fit(unfolded(), TARGETS["inlined"])
    assert not model.functions
    assert domains(model) == {""}
    assert {node.domain for node in model.graph.node} == {""}
    onnx.checker.check_model(model, full_check=True)
    np.testing.assert_allclose(computed(model), defined(), atol=1e-6)


@pytest.mark.parametrize("name", TARGETS)
def test_a_model_in_which_everything_folded_is_the_same_for_every_target(name):
    model = parser.parse_model(
        '<ir_version: 10, opset_import: ["": 18]> n (float[N] x) => (float[N] y) { y = Abs(x) }'
    )
    before = model.SerializeToString(deterministic=True)
    assert fit(model, TARGETS[name]).SerializeToString(deterministic=True) == before


def test_other_peoples_functions_stay_where_nothing_has_to_be_written_out():
    model = unfolded()
    other = parser.parse_function(
        '<domain: "local", opset_import: ["": 18]> Twice (x) => (y) { y = Add(x, x) }'
    )
    model.functions.append(other)
    for name in ("portable", "tensorrt<=10.6", "ort-tensorrt"):
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        assert [f.name for f in fit(copy, TARGETS[name]).functions if f.domain == "local"] == [
            "Twice"
        ]


def test_a_body_that_cannot_be_written_out_is_an_error():
    model = unfolded()
    model.functions[0].opset_import[0].version = 17
    with pytest.raises(GraphError, match="leaves NDChannelDeconv in the model"):
        fit(model, TARGETS["inlined"])


def test_an_unknown_target_is_an_error_that_lists_them():
    with pytest.raises(InputError, match="there is no target 'jetson'") as caught:
        find_target("jetson")
    for name in TARGETS:
        assert repr(name) in caught.value.remedy
