import onnx
import pytest
from onnx import TensorProto
from trt_models import from_text, nd_model, saved

from nd_deploy.bundle import onnx_file
from nd_deploy.bundle.files import sha256
from nd_deploy.errors import GraphError
from nd_deploy.runtime.tensorrt.facts import read_facts


def test_nodes_say_what_they_are_and_which_layers_they_hold(tmp_path):
    facts = read_facts(saved(nd_model(), tmp_path))
    stem, norm, _, last = facts.nodes
    assert not stem.is_nd
    assert norm.is_nd
    assert (norm.layers, last.layers) == (("blocks.0.norm",), ("last",))
    assert (norm.plugin_namespace, norm.plugin_version, norm.has_body) == ("nd_deploy", "1", True)
    assert [(port.name, port.shape) for port in facts.inputs] == [("x", ("batch", 8, 4, 4))]


def test_a_node_for_onnx_runtimes_provider_is_one_of_ours(tmp_path):
    model = nd_model()
    model.graph.node[1].domain = "trt.plugins"
    model.graph.node[3].domain = "acme"
    nodes = read_facts(saved(model, tmp_path)).nodes
    assert [node.is_nd for node in nodes] == [False, True, False, False]
    assert not nodes[1].has_body


def test_a_node_without_a_name_is_called_as_tensorrt_calls_it(tmp_path):
    model = from_text("g (float[2] x) => (float[2] y) { y = Relu (x) }")
    (node,) = read_facts(saved(model, tmp_path)).nodes
    assert node.label == "node_of_y"


def test_initializers_that_are_declared_as_inputs_are_no_inputs(tmp_path):
    model = nd_model()
    model.graph.input.append(
        onnx.helper.make_tensor_value_info("w", TensorProto.FLOAT, [8, 8, 1, 1])
    )
    assert [port.name for port in read_facts(saved(model, tmp_path)).inputs] == ["x"]


def test_the_hash_is_that_of_the_file_unless_weights_lie_beside_it(tmp_path):
    model = from_text(
        "g (float[1, 32] x) => (float[1, 32] y) <float[32, 32] w> { y = MatMul (x, w) }"
    )
    path = saved(model, tmp_path)
    assert read_facts(path).sha256 == sha256(path)
    apart = tmp_path / "apart.onnx"
    onnx_file.save(model, apart, external_data_over=0)
    before = read_facts(apart).sha256
    assert before != sha256(apart)
    data = tmp_path / "apart.onnx.data"
    data.write_bytes(data.read_bytes()[:-1] + b"\x01")
    assert read_facts(apart).sha256 != before
    data.unlink()
    with pytest.raises(GraphError, match=r"keeps weights in apart\.onnx\.data"):
        read_facts(apart)


@pytest.mark.parametrize("content", [b"", b"\x08\x07garbage" * 9, b"not a model"])
def test_what_is_no_model_is_refused(tmp_path, content):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(GraphError, match=r"model\.onnx"):
        read_facts(path)


def test_a_model_cut_short_is_refused(tmp_path):
    path = saved(nd_model(), tmp_path)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(GraphError, match="is no ONNX model"):
        read_facts(path)


def test_float64_inputs_are_refused_because_tensorrt_would_narrow_them(tmp_path):
    model = from_text("g (double[2] x) => (double[2] y) { y = Relu (x) }")
    with pytest.raises(GraphError, match=r"'x' of .* is float64"):
        read_facts(saved(model, tmp_path))
