import importlib.util
import json
from pathlib import Path

import pytest
from onnx import parser

from nd_deploy.cli.main import main
from nd_deploy.errors import BackendError
from nd_deploy.nd import dialect
from nd_deploy.passes.base import Action, Decision

KEPT = """
<ir_version: 10, opset_import: ["": 20, "nd_deploy": 1]>
net (float[batch, 4] image) => (float[batch, 4] logits)
<float[2] mean = {0, 1}, float[2, 2] deconv = {1, 0, 0, 1}>
{
    [norm] logits = nd_deploy.NDChannelDeconv (image, mean, deconv)
}
"""

needs_rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx is not installed"
)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ND_DEPLOY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def kept_bundle(make_bundle):
    """A bundle whose one ND layer is left in the model."""
    model = parser.parse_model(KEPT)
    dialect.attach_functions(model)
    reason = "it is to be a plugin"
    decision = Decision("norm", "NDChannelDeconv", Action.KEPT, reason, "lower", ("norm",))
    bundle = make_bundle("kept", model=model, decisions=[decision], preprocessing=None, labels=None)
    return bundle.path


@pytest.fixture
def asked(monkeypatch):
    """What `build` asks for, in place of building it."""
    found = {}

    def engine_for(request, output=None, **options):
        found.update(request=request, output=output, **options)
        raise BackendError("not built", "by this test")

    monkeypatch.setattr("nd_deploy.runtime.tensorrt.from_bundle.engine_for", engine_for)
    return found


@pytest.mark.tensorrt
@needs_rtx
def test_an_engine_is_built_once_and_described(invoke, bundle, cache):
    arguments = ("build", bundle, "--batch", "1:2:4", "--runtime", "tensorrt-rtx")
    first = invoke(*arguments)
    assert "TensorRT-RTX" in first.stdout
    assert "float32, TF32 off, for all GPUs" in first.stdout
    assert "shapes: image=1x1x2x2:2x1x2x2:4x1x2x2" in first.stdout
    rows = [line.split() for line in first.stdout.splitlines()]
    assert ["layers.0", "FastDeconv", "folded", "layers.0"] in rows
    assert ["norm5", "ChannelDeconv", "standard", "n"] in rows
    assert "no engine of this model is kept yet" in first.stderr
    assert "%" in first.stderr
    assert len(list(cache.rglob("*.engine"))) == 1
    second = invoke(*arguments)
    assert "kept from before" in second.stdout
    assert "%" not in second.stderr


@pytest.mark.tensorrt
@needs_rtx
def test_json_is_one_document_and_the_output_is_where_it_was_asked_for(
    invoke, kept_bundle, tmp_path
):
    output = tmp_path / "out.engine"
    command = ("build", kept_bundle, "--batch", "2", "-o", output, "--python-plugin", "--json")
    document = json.loads(invoke(*command, "--runtime", "tensorrt-rtx").stdout)
    assert document["engine"] == str(output)
    assert output.stat().st_size == document["receipt"]["engine_bytes"]
    assert Path(f"{output}.json").is_file()
    (path,) = document["receipt"]["paths"]
    assert (path["layer"], path["path"], path["asked"]) == ("norm", "plugin", "plugin")
    assert document["key"]["profiles"] == "image=2x4:2x4:2x4"


@pytest.mark.tensorrt
@needs_rtx
def test_an_engine_that_is_not_what_was_asked_for_exits_3_and_is_not_written(
    invoke, kept_bundle, tmp_path
):
    output = tmp_path / "out.engine"
    command = ("build", kept_bundle, "--batch", "2", "-o", output, "--runtime", "tensorrt-rtx")
    result = invoke(*command, "--python-plugin", "--expect", "body", code=3)
    assert "error: NDChannelDeconv 'norm' was to run as body, and is plugin" in result.stderr
    assert not output.exists()


def test_every_option_is_part_of_the_request(invoke, bundle, asked, tmp_path):
    options = [
        "-o", tmp_path / "a.engine", "--batch", "1:2:4", "--batch", "8", "--precision", "bf16",
        "--runtime", "tensorrt", "--tf32", "--plugin", "a.so", "--plugin", "b.so",
        "--python-plugin", "--embed-plugins", "--expect", "plugin", "--compute-capability", "8.6",
        "--workspace", 64, "--optimization-level", 2, "--timing-cache", "t", "--rebuild",
    ]  # fmt: skip
    invoke("build", bundle, *options, code=3)
    request = asked["request"]
    assert asked["output"] == tmp_path / "a.engine"
    assert asked["rebuild"] is True
    assert request.model == bundle / "model.onnx"
    assert [str(profile) for profile in request.profiles] == [
        "image=1x1x2x2:2x1x2x2:4x1x2x2",
        "image=8x1x2x2:8x1x2x2:8x1x2x2",
    ]
    assert (request.library, request.precision, request.tf32) == ("tensorrt", "bfloat16", True)
    assert request.plugin_libraries == (Path("a.so"), Path("b.so"))
    assert request.python_plugins
    assert request.embed_plugins
    assert request.expected_default == "plugin"
    assert request.compute_capabilities == ("8.6",)
    assert (request.workspace_mib, request.optimization_level) == (64, 2)
    assert request.timing_cache == Path("t")
    assert [decision["layer"] for decision in request.decisions][-1] == "norm5"


def test_what_is_left_out_is_left_to_the_library(invoke, bundle, asked):
    invoke("build", bundle, "--batch", "1", code=3)
    request = asked["request"]
    assert (request.library, request.precision, request.tf32) == (None, None, False)
    assert (request.workspace_mib, request.optimization_level) == (None, None)
    assert not request.has_plugins


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--batch", "4:2:1"], "--batch 4:2:1 is out of order"),
        (["--batch", "many"], "--batch many"),
        ([], "the batch of input 'image' (batch, 1, 2, 2) is open"),
        (["--shape", "picture=1x1x2x2"], "no input 'picture'"),
        (["--shape", "image=1x3x2x2"], "which the model fixes at 1"),
        (["--batch", "1", "--precision", "int8"], "int8"),
    ],
)
def test_options_that_do_not_fit_the_model_exit_1(invoke, bundle, asked, options, words):
    result = invoke("build", bundle, *options, code=1)
    assert words in result.stderr
    assert not asked


def test_a_missing_library_exits_1_with_the_command_that_installs_it(invoke, bundle, monkeypatch):
    monkeypatch.setattr("nd_deploy.compat.trt.installed", lambda: ())
    result = invoke("build", bundle, "--batch", "1", code=1)
    assert "neither TensorRT nor TensorRT-RTX is installed" in result.stderr
    assert "pip install 'nd-deploy[rtx]'" in result.stderr


def test_ctrl_c_exits_130(invoke, bundle, monkeypatch):
    def engine_for(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("nd_deploy.runtime.tensorrt.from_bundle.engine_for", engine_for)
    result = invoke("build", bundle, "--batch", "1", code=130)
    assert "nothing was written" in result.stderr


def test_build_is_in_the_help(invoke):
    assert "build" in main.list_commands(None)
    assert "MIN:OPT:MAX" in invoke("build", "--help").stdout
