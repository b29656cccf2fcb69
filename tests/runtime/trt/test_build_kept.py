"""Engines that are kept, and TensorRT itself as far as a stand-in on TensorRT-RTX goes."""

import dataclasses
import json
import sys

import pytest
from trt_models import nd_model, needs_rtx, request_for, saved

from nd_deploy.errors import InputError
from nd_deploy.precision import cast
from nd_deploy.runtime.tensorrt.building import build
from nd_deploy.runtime.tensorrt.device import Device
from nd_deploy.runtime.tensorrt.engines import engine_for
from nd_deploy.runtime.tensorrt.kept.engine_cache import EngineCache
from nd_deploy.runtime.tensorrt.kept.engine_file import read_engine, record_path

pytestmark = [pytest.mark.tensorrt, needs_rtx]

GPU = Device(0, "NVIDIA Test", "9.0", 2**36, 2**35, None, None, None, "nothing")


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A request, and a cache that has its engine."""
    folder = tmp_path_factory.mktemp("kept")
    request, cache = request_for(saved(nd_model(), folder)), EngineCache(folder / "cache")
    return request, cache, engine_for(request, cache=cache)


@pytest.fixture
def no_build(monkeypatch):
    """Let every build fail."""

    def build_engine(request, report):
        raise AssertionError("built")

    monkeypatch.setattr("nd_deploy.runtime.tensorrt.engines.build_engine", build_engine)


@pytest.fixture
def tensorrt(tmp_path, monkeypatch):
    """A module `tensorrt` that is TensorRT-RTX under another name, and a GPU."""
    package = tmp_path / "standin" / "tensorrt"
    package.mkdir(parents=True)
    names = "from tensorrt_rtx import *\nfrom tensorrt_rtx import __version__\n"
    (package / "__init__.py").write_text(names)
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")
    monkeypatch.setattr(build, "find_device", lambda index: GPU)
    before = sys.modules.pop("tensorrt", None)
    yield
    sys.modules.pop("tensorrt", None)
    if before is not None:
        sys.modules["tensorrt"] = before


def test_an_engine_is_kept_with_what_it_was_built_from(kept):
    request, cache, engine = kept
    assert engine.built
    assert engine.stored.plan_path.parent == cache.folder
    key = engine.stored.key
    assert (key.library, key.device, key.compute_capability) == (
        "tensorrt_rtx",
        "portable",
        "portable",
    )
    assert key.model_sha256 == engine.receipt.model_sha256
    assert key.profiles == str(request.profiles[0])
    assert key.tf32 is False


def test_an_engine_that_is_kept_is_not_built_again(kept, no_build):
    request, cache, engine = kept
    again = engine_for(request, cache=cache)
    assert not again.built
    assert again.stored == engine.stored
    assert again.receipt == engine.receipt


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tf32": True}, "its use of TF32 is off, not on"),
        ({"compute_capabilities": ("8.9",)}, "its compute capability is portable, not 8.9"),
        ({"workspace_mib": 9}, "workspace=9"),
        ({"expected_default": "body"}, "expect=body"),
        ({"profiles": ()}, "its shape profile is"),
    ],
)
def test_what_differs_from_the_engine_kept_is_told_before_one_is_built(
    kept, no_build, change, words
):
    request, cache, _ = kept
    lines = []
    with pytest.raises(AssertionError, match="built"):
        engine_for(dataclasses.replace(request, **change), cache=cache, report=lines.append)
    assert any(words in line for line in lines)


def test_a_narrower_precision_is_built_from_the_model_cast_to_it_and_kept_as_well(kept, tmp_path):
    request, _, wide = kept
    narrow = dataclasses.replace(request, precision="float16")
    cache = EngineCache(tmp_path / "cache")
    first, second = (engine_for(narrow, cache=cache) for _ in range(2))
    assert (first.built, second.built) == (True, False)
    assert first.stored.plan_path == second.stored.plan_path
    assert first.receipt.precision == "float16"
    assert "float16" in first.stored.key.precision
    assert first.stored.key.model_sha256 != wide.stored.key.model_sha256
    # The ND node computes in float32 all the same, with what it reads and gives cast around it.
    assert [p.path for p in first.receipt.paths] == [p.path for p in wide.receipt.paths]


def test_float32_is_not_made_of_a_narrower_model(tmp_path):
    request = request_for(saved(cast(nd_model(), "float16"), tmp_path), precision="float32")
    with pytest.raises(InputError, match="float32 is asked for, but the model computes in float16"):
        engine_for(request, cache=EngineCache(tmp_path / "cache"))


def test_an_engine_is_built_again_if_that_is_asked_for(kept, no_build):
    request, cache, _ = kept
    with pytest.raises(AssertionError, match="built"):
        engine_for(request, cache=cache, rebuild=True)


def test_a_receipt_in_other_words_is_told_and_the_engine_built_again(kept, no_build):
    request, cache, engine = kept
    record = record_path(engine.stored.plan_path)
    text = record.read_text()
    fields = json.loads(text)
    del fields["receipt"]["paths"]
    record.write_text(json.dumps(fields))
    lines = []
    try:
        with pytest.raises(AssertionError, match="built"):
            engine_for(request, cache=cache, report=lines.append)
    finally:
        record.write_text(text)
    assert any("other words" in line for line in lines)


@pytest.mark.parametrize("name", ["", "file/model.engine"])
def test_an_output_that_cannot_be_written_is_refused_before_the_build(
    kept, no_build, tmp_path, name
):
    request, cache, _ = kept
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="--output"):
        engine_for(request, tmp_path / name, cache=cache)


def test_an_engine_for_tensorrt_is_tied_to_its_gpu_and_remembers_what_it_measured(
    tensorrt, tmp_path
):
    cache = EngineCache(tmp_path / "cache")
    request = request_for(saved(nd_model(), tmp_path), library=None)
    output = tmp_path / "new" / "model.engine"
    engine = engine_for(request, output, cache)
    assert engine.stored == read_engine(output)
    key = engine.stored.key
    assert (key.library, key.device, key.compute_capability) == ("tensorrt", "NVIDIA Test", "9.0")
    assert engine.receipt.device == "NVIDIA Test"
    assert engine.receipt.settings["timing_cache"] == "new"
    (measured,) = cache.folder.iterdir()
    assert measured.suffix == ".timing"


def test_a_timing_cache_of_something_else_is_told_and_replaced(tensorrt, tmp_path):
    timings = tmp_path / "timings"
    timings.write_bytes(b"something else" * 20)
    request = request_for(saved(nd_model(), tmp_path), library="tensorrt", timing_cache=timings)
    lines = []
    engine = engine_for(request, tmp_path / "model.engine", report=lines.append)
    assert any(str(timings) in line for line in lines)
    assert engine.receipt.settings["timing_cache"] == "rebuilt"
    assert not timings.read_bytes().startswith(b"something else")
