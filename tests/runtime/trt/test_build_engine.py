"""Engines built by TensorRT-RTX, which is the real parser and builder and needs no GPU."""

import hashlib
import json

import pytest
from trt_models import built, from_text, nd_model, needs_rtx, request_for, saved

from nd_deploy.bundle import onnx_file
from nd_deploy.errors import BackendError, GraphError, InputError
from nd_deploy.precision import cast
from nd_deploy.runtime.tensorrt.building.build import build_engine
from nd_deploy.runtime.tensorrt.building.receipt import BuildReceipt
from nd_deploy.runtime.tensorrt.profile import Range

pytestmark = [pytest.mark.tensorrt, needs_rtx]

CHOSEN = {
    "tf32": True,
    "compute_capabilities": ("8.6", "8.9"),
    "workspace_mib": 64,
    "optimization_level": 1,
}
DECISIONS = (
    {"layer": "stem", "op_type": "NDFastDeconv", "action": "folded", "into": ["stem"]},
    {"layer": "blocks.0.norm", "op_type": "NDChannelDeconv", "action": "kept", "into": ["norm"]},
)


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    """A network with bodies, and the lines that its build reported."""
    lines = []
    folder = tmp_path_factory.mktemp("engine")
    return built(nd_model(), folder, report=lines.append, decisions=DECISIONS), lines


@pytest.fixture(scope="module")
def chosen(tmp_path_factory):
    """The receipt of an engine with everything set that can be."""
    return built(nd_model(), tmp_path_factory.mktemp("chosen"), **CHOSEN).receipt


def test_an_engine_is_described_by_its_receipt(engine):
    made, _ = engine
    receipt = made.receipt
    assert len(made.plan) == receipt.engine_bytes > 1000
    assert hashlib.sha256(made.plan).hexdigest() == receipt.engine_sha256
    assert (receipt.library, receipt.device) == ("tensorrt_rtx", "portable")
    assert receipt.profiles[0].shapes == {"x": Range((1, 8, 4, 4), (2, 8, 4, 4), (4, 8, 4, 4))}
    assert receipt.precision == "float32"
    assert receipt.precisions().keys() == {"float32"}
    assert receipt.layers_from.startswith(("the parsed network", "the engine's inspector"))
    assert receipt.plugins == receipt.warnings == ()


def test_tf32_is_off_unless_it_is_asked_for(engine, chosen):
    assert engine[0].receipt.tf32 is False
    assert chosen.tf32 is True


def test_every_nd_layer_is_told_with_the_path_that_it_took(engine):
    paths = {path.layer: path for path in engine[0].receipt.paths}
    assert {layer: path.path for layer, path in paths.items()} == {
        "stem": "folded",
        "blocks.0.norm": "body",
        "last": "body",
    }
    assert paths["blocks.0.norm"].nodes == ("norm",)


def test_progress_is_told_in_lines(engine):
    lines = engine[1]
    assert lines[0] == "starting TensorRT-RTX"
    assert any("%" in line for line in lines)


def test_a_receipt_survives_json(engine):
    receipt = engine[0].receipt
    fields = receipt.as_dict()
    assert json.loads(json.dumps(fields)) == fields
    assert BuildReceipt.from_dict(fields) == receipt


def test_plugins_take_the_nodes_and_the_receipt_names_them(tmp_path):
    receipt = built(nd_model(), tmp_path, python_plugins=True).receipt
    assert [(path.path, path.plugin) for path in receipt.paths] == [
        ("plugin", "nd_deploy::NDChannelDeconv 1"),
        ("plugin", "nd_deploy::NDChannelDeconvLeftover 1"),
    ]
    (record,) = receipt.plugins
    assert "nd_deploy::NDChannelDeconv 1" in record.plugins


def test_a_model_without_bodies_builds_with_the_plugin(tmp_path):
    receipt = built(nd_model(bodies=False), tmp_path, python_plugins=True).receipt
    assert {path.path for path in receipt.paths} == {"plugin"}


def test_a_plugin_that_the_node_does_not_ask_for_is_an_error(tmp_path):
    model = nd_model()
    del model.graph.node[1].attribute[:]
    with pytest.raises(BackendError, match="'norm' was to run as plugin, and is body") as caught:
        built(model, tmp_path, python_plugins=True)
    assert "does not say where its plugin is" in caught.value.problem


def test_a_plugin_where_the_body_was_asked_for_is_an_error(tmp_path):
    with pytest.raises(BackendError, match="'norm' was to run as body, and is plugin"):
        built(nd_model(), tmp_path, python_plugins=True, expected={"norm": "body"})


@pytest.mark.parametrize(("dtype", "plugins"), [("float16", False), ("bfloat16", True)])
def test_a_cast_model_is_built_in_its_type_and_nd_layers_do_not_count(tmp_path, dtype, plugins):
    model = cast(nd_model(), dtype)
    receipt = built(model, tmp_path, precision=dtype, python_plugins=plugins).receipt
    assert receipt.precision == dtype
    assert receipt.precisions().keys() == {dtype, "float32"}


def test_another_precision_than_the_models_is_refused(tmp_path):
    with pytest.raises(InputError, match="float16 is asked for, but the model computes in float32"):
        built(nd_model(), tmp_path, precision="float16")
    with pytest.raises(InputError, match="float32 is asked for, but the model computes in float16"):
        built(cast(nd_model(), "float16"), tmp_path, precision="float32")


def test_weights_in_a_file_beside_the_model_are_found(tmp_path):
    text = "g (float[batch, 32] x) => (float[batch, 32] y) <float[32, 32] w> { y = MatMul (x, w) }"
    path = tmp_path / "apart.onnx"
    onnx_file.save(from_text(text), path, external_data_over=0)
    assert (tmp_path / "apart.onnx.data").is_file()
    assert build_engine(request_for(path)).plan


def test_a_fixed_model_needs_no_profile(tmp_path):
    text = "g (float[2, 3] x) => (float[2, 3] y) { y = Relu (x) }"
    receipt = built(from_text(text), tmp_path, batch=()).receipt
    assert receipt.profiles == ()
    assert receipt.precision == "float32"


def test_what_is_set_is_on_the_receipt(chosen):
    assert chosen.compute_capability == "8.6,8.9"
    assert chosen.settings["workspace"] == "64 MiB"
    assert chosen.settings["optimization_level"] == "1"


def test_a_gpu_generation_that_the_library_does_not_know_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"cannot build for compute capability 1\.0") as caught:
        built(nd_model(), tmp_path, compute_capabilities=("1.0",))
    assert "8.6" in caught.value.remedy


def refusal(tmp_path, text, functions="", **options):
    with pytest.raises(GraphError) as caught:
        built(from_text(text, functions), tmp_path, batch=(), **options)
    return caught.value


def test_unknown_operators_are_named_with_their_domains_and_the_parsers_words(tmp_path):
    text = """g (float[2, 3] x) => (float[2, 3] y) {
        [first] z = acme.Magic <strength = 3> (x)
        y = acme.Other (z)
    }"""
    error = refusal(tmp_path, text)
    assert "node 'first', operator acme.Magic: Plugin not found" in error.problem
    assert "node 'node_of_y', operator acme.Other" in error.problem
    assert "--plugin" in error.remedy


def test_an_nd_op_without_body_and_plugin_is_told_what_would_run_it(tmp_path):
    with pytest.raises(GraphError) as caught:
        built(nd_model(bodies=False), tmp_path)
    assert "node 'norm', operator nd_deploy.NDChannelDeconv" in caught.value.problem
    assert "(which holds blocks.0.norm)" in caught.value.problem
    assert "--python-plugin" in caught.value.remedy
    assert "--target inlined" in caught.value.remedy


def test_an_operator_that_fails_inside_a_function_is_told_with_its_call(tmp_path):
    text = "g (float[2, 3] x) => (float[2, 3] y) { [call] y = acme.Layer (x) }"
    body = """<domain: "acme", opset_import: ["": 18]> Layer (a) => (b) {
        t = Unique <sorted = 1> (a)
        b = Relu (t)
    }"""
    problem = refusal(tmp_path, text, body).problem
    assert "node 'call', operator acme.Layer, in its body at Unique: it is not supported" in problem


def test_shapes_that_do_not_fit_are_told_without_the_words_of_a_missing_gpu(tmp_path):
    text = """g (float[2, 3] x) => (float[2, 4] y) <float[4, 4] w>
        { [head] y = MatMul (x, w) }"""
    problem = refusal(tmp_path, text).problem
    assert "node 'head', operator MatMul" in problem
    assert "3" in problem
    assert "cudaError" not in problem


def test_a_profile_that_a_layer_cannot_take_is_told_in_tensorrts_words(tmp_path):
    text = """g (float[batch, 4] x) => (float[n, 8] y) <int64[2] s = {-1, 8}>
        { [fold] y = Reshape (x, s) }"""
    with pytest.raises(InputError) as caught:
        built(from_text(text), tmp_path, batch=(1, 3, 5))
    assert "x=1x4:3x4:5x4" in caught.value.problem
    assert "violate shape constraints" in caught.value.problem
    assert "--batch" in caught.value.remedy


def test_a_request_stays_the_same_in_another_process(tmp_path):
    request = request_for(
        saved(nd_model(), tmp_path),
        plugin_libraries=(tmp_path / "a.so",),
        expected={"norm": "body"},
        decisions=DECISIONS,
    )
    assert type(request).from_dict(json.loads(json.dumps(request.as_dict()))) == request
