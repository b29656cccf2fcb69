import hashlib
from pathlib import Path
from types import SimpleNamespace

import onnx
import pytest
from onnx import parser

from nd_deploy.compat import trt
from nd_deploy.errors import BackendError, InputError, MissingDependencyError
from nd_deploy.runtime import open_tensorrt
from nd_deploy.runtime.choose import open_runner
from nd_deploy.runtime.options import RunOptions
from nd_deploy.runtime.tensorrt.kept.engine_file import write_engine
from nd_deploy.runtime.tensorrt.kept.engine_key import EngineKey


@pytest.fixture
def file(tmp_path):
    text = (
        '<ir_version: 10, opset_import: ["": 21]>'
        "g (float[N, 3] x) => (float[N, 3] y) { y = Add (x, x) }"
    )
    path = tmp_path / "model.onnx"
    onnx.save(parser.parse_model(text), path)
    return path


def test_a_library_that_is_not_there_is_named(file):
    absent = [name for name in (trt.TENSORRT, trt.RTX) if name not in trt.installed()]
    if not absent:
        pytest.skip("both are installed")
    runtime = absent[0].replace("_", "-")
    with pytest.raises(MissingDependencyError, match="is not installed"):
        open_runner(file, runtime, RunOptions(batch="1"))


@pytest.fixture
def opened(monkeypatch):
    """Pretend to have TensorRT and a GPU; returns what the runner is given."""
    given = {}

    def runner(stored, **options):
        given.update(options, stored=stored)
        return SimpleNamespace()

    def engine_for(request, report):
        given["request"] = request
        report("building")
        return SimpleNamespace(stored="built")

    monkeypatch.setattr(trt, "choose", lambda name: name)
    monkeypatch.setattr(open_tensorrt, "require_device", lambda device: None)
    monkeypatch.setattr(open_tensorrt, "engine_for", engine_for)
    monkeypatch.setattr(open_tensorrt, "TensorRTRunner", runner)
    return given


def test_an_engine_is_built_as_asked(file, opened):
    lines = []
    own = {"workspace": "2GiB", "optimization_level": "5", "device_id": "1"}
    options = RunOptions(own, (Path("p.so"),), tf32=True, cuda_graph=True, batch="1:8:32")
    open_runner(file, "tensorrt-rtx", options, report=lines.append)
    request = opened["request"]
    assert request.library == "tensorrt_rtx"
    assert request.model == file
    assert str(request.profiles[0]) == "x=1x3:8x3:32x3"
    assert (request.workspace_mib, request.optimization_level) == (2048, 5)
    assert request.tf32
    assert request.plugin_libraries == opened["plugin_libraries"] == (Path("p.so"),)
    assert opened["stored"] == "built"
    assert opened["cuda_graph"] is True
    assert opened["allow_host_code"] is False
    assert opened["device"] == 1
    assert lines == ["building"]


def test_an_open_batch_without_a_range_is_asked_for(file, opened):
    with pytest.raises(InputError) as caught:
        open_runner(file, "tensorrt", RunOptions())
    assert "--batch 1:8:32" in caught.value.remedy


def engine(folder, **changes):
    fields = {
        "library": "tensorrt",
        "version": "10.3",
        "device": "H200",
        "compute_capability": "9.0",
        "precision": "none",
        "tf32": False,
        "profiles": "x=1x3:1x3:1x3",
    }
    return write_engine(folder / "a.engine", b"plan", EngineKey(**(fields | changes)), {})


def test_an_engine_from_elsewhere_has_to_be_of_this_model(file, opened, tmp_path):
    engine(tmp_path, model_sha256="0" * 64)
    with pytest.raises(BackendError, match="its model's sha256 is 0000"):
        open_runner(file, "tensorrt", RunOptions(engine=tmp_path / "a.engine"))


@pytest.mark.parametrize(
    ("changes", "options", "said"),
    [
        ({"tf32": True}, {}, "its use of TF32 is on, not off"),
        ({}, {"tf32": True}, "its use of TF32 is off, not on"),
        ({"library": "tensorrt_rtx"}, {}, "its library is tensorrt_rtx, not tensorrt"),
    ],
)
def test_an_engine_from_elsewhere_has_to_compute_as_asked(
    file, opened, tmp_path, changes, options, said
):
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    precision = open_tensorrt.read_facts(file).precision
    stored = engine(tmp_path, model_sha256=digest, precision=precision, **changes)
    with pytest.raises(BackendError, match=said):
        open_runner(file, "tensorrt", RunOptions(engine=stored.plan_path, **options))


def test_an_engine_from_elsewhere_is_run(file, opened, tmp_path):
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    precision = open_tensorrt.read_facts(file).precision
    stored = engine(tmp_path, model_sha256=digest, precision=precision)
    open_runner(file, "tensorrt", RunOptions(engine=stored.plan_path))
    assert opened["stored"] == stored
    assert "request" not in opened


def test_without_a_gpu_nothing_is_built_in_vain(file, monkeypatch):
    monkeypatch.setattr(trt, "choose", lambda name: name)

    def no_gpu(device):
        raise BackendError(f"no GPU {device} can be used", "find one")

    monkeypatch.setattr(open_tensorrt, "require_device", no_gpu)
    monkeypatch.setattr(open_tensorrt, "engine_for", None)
    with pytest.raises(BackendError, match="no GPU 0"):
        open_runner(file, "tensorrt", RunOptions(batch="1"))
