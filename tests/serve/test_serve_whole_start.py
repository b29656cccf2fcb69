"""What `nd-deploy serve` says when it cannot serve: what is wrong, what to do, and no traceback."""

import logging
import socket

import onnxruntime
import pytest
from served_bundle import edit_manifest, reference, write

from nd_deploy.cli import serve
from nd_deploy.cli.main import main
from nd_deploy.runtime import open_ort
from nd_deploy.runtime.tensorrt.kept.engine_key import EngineKey

KEY = EngineKey("ab" * 32, "onnxruntime", "1.31", "H200", "9.0", "float32", False, "x=1:2:4")


@pytest.fixture
def bundle(tmp_path):
    return write(tmp_path / "tiny")


@pytest.fixture
def refused(capsys, monkeypatch):
    """Run the command, which is not to come as far as serving: its exit code and what it says."""

    def serves(*_):
        raise AssertionError("it serves")

    monkeypatch.setattr(serve, "_announce", serves)
    logger = logging.getLogger("nd_deploy")
    before = logger.handlers, logger.level, logger.propagate

    def run(*arguments, ports=("--http-port", "0", "--grpc-port", "0")):
        with pytest.raises(SystemExit) as ended:
            main(["serve", *map(str, arguments), *ports])
        said = capsys.readouterr()
        assert said.out == ""
        assert "Traceback" not in said.err
        return ended.value.code, said.err

    yield run
    logger.handlers, logger.level, logger.propagate = before


def test_a_bundle_that_is_not_there(refused, tmp_path):
    code, said = refused(tmp_path / "gone")
    assert code == 1
    assert str(tmp_path / "gone") in said


@pytest.mark.parametrize("name", ["model.onnx", "reference.npz"])
def test_a_bundle_with_a_wrong_hash(refused, bundle, name):
    with (bundle / name).open("ab") as file:
        file.write(b"\0")
    code, said = refused(bundle)
    assert code == 1
    assert name in said
    assert "has changed" in said


def test_a_bundle_that_does_not_compute_what_pytorch_did(refused, tmp_path):
    code, said = refused(write(tmp_path / "tiny", factor=3.0, reference=reference(factor=2.0)))
    assert code == 2
    assert "does not give PyTorch's outputs" in said
    assert "nd-deploy verify" in said


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_a_port_in_use(refused, bundle, kind):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        other = "grpc" if kind == "http" else "http"
        ports = (f"--{kind}-port", str(port), f"--{other}-port", "0")
        code, said = refused(bundle, ports=ports)
    assert code == 1
    assert f"port {port}" in said
    assert f"--{kind}-port" in said
    assert "another port" in said


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="has a GPU's runtime"
)
@pytest.mark.parametrize(
    ("runtime", "provider"),
    [("ort-cuda", "CUDAExecutionProvider"), ("ort-tensorrt", "TensorrtExecutionProvider")],
)
def test_a_gpu_that_is_not_there(refused, bundle, runtime, provider):
    code, said = refused(bundle, "--runtime", runtime)
    assert code == 3
    assert provider in said
    assert "nd-deploy[gpu]" in said


def test_a_cache_of_engines_that_cannot_be_written(refused, bundle, tmp_path, monkeypatch):
    """It is made before TensorRT is loaded, which need not be there."""
    monkeypatch.setattr(open_ort, "require_providers", lambda _: None)
    monkeypatch.setattr(open_ort, "require_libraries", lambda _: None)
    monkeypatch.setattr(open_ort, "_key", lambda *_: KEY)
    (tmp_path / "file").touch()
    monkeypatch.setenv("ND_DEPLOY_CACHE", str(tmp_path / "file"))
    code, said = refused(bundle, "--runtime", "ort-tensorrt")
    assert code == 1
    assert f"the engine cache {tmp_path / 'file'}" in said
    assert "set ND_DEPLOY_CACHE" in said


def test_two_bundles_of_one_name(refused, bundle, tmp_path):
    other = write(tmp_path / "other" / "tiny")
    code, said = refused(bundle, other)
    assert code == 1
    assert str(bundle) in said
    assert str(other) in said
    assert "NAME=BUNDLE" in said


def test_labels_that_do_not_fit(refused, bundle, tmp_path):
    labels = tmp_path / "labels.txt"
    labels.write_text("cat\ndog\n")
    code, said = refused(bundle, "--labels", labels)
    assert code == 1
    assert "2" in said
    assert "3" in said
    assert "label" in said


def test_a_bundle_whose_own_labels_do_not_fit(refused, bundle):
    edit_manifest(bundle, labels=["cat", "dog"])
    code, said = refused(bundle)
    assert code == 1
    assert "label" in said


def test_labels_for_several_bundles(refused, bundle, tmp_path):
    labels = tmp_path / "labels.txt"
    labels.write_text("cat\ndog\nbird\n")
    code, said = refused(bundle, f"other={bundle}", "--labels", labels)
    assert code == 1
    assert "--labels" in said


@pytest.mark.parametrize("given", ["no_such=1", "deadline=soon", "body_limit=-1", "json_depth=0"])
def test_a_limit_that_makes_no_sense(refused, bundle, given):
    code, said = refused(bundle, "--limit", given)
    assert code == 1
    assert given.split("=")[0] in said


def test_a_token_file_with_nothing_in_it(refused, bundle, tmp_path):
    token = tmp_path / "token"
    token.write_text("\n")
    code, said = refused(bundle, "--token-file", token)
    assert code == 1
    assert str(token) in said
    assert "secrets.token_urlsafe()" in said


def test_an_address_of_others_is_warned_about(refused, bundle):
    # One that no machine has, so that nothing is bound.
    code, said = refused(bundle, "--host", "192.0.2.1")
    assert code == 1
    assert "warning: --host 192.0.2.1" in said
    assert "--token-file" in said


def test_a_token_leaves_one_warning_of_the_two(refused, bundle, tmp_path):
    token = tmp_path / "token"
    token.write_text("secret\n")
    _, said = refused(bundle, "--host", "192.0.2.1", "--token-file", token)
    assert said.count("warning:") == 1
    assert "nothing is encrypted" in said
