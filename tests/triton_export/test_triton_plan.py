import hashlib
from dataclasses import replace

import onnx
import pytest
from google.protobuf import text_format
from tiny_bundle import model

from nd_deploy.bundle import onnx_file
from nd_deploy.errors import InputError
from nd_deploy.precision import cast
from nd_deploy.runtime.tensorrt.kept.engine_file import write_engine
from nd_deploy.runtime.tensorrt.kept.engine_key import EngineKey
from nd_deploy.triton.export import export_triton

model_config_pb2 = pytest.importorskip(
    "tritonclient.grpc.model_config_pb2", reason="needs tritonclient[grpc]"
)

PLAN = b"a plan" * 50
VERSION = "10.14.1.48"


@pytest.fixture
def key(bundle):
    return EngineKey(
        model_sha256=hashlib.sha256((bundle / "model.onnx").read_bytes()).hexdigest(),
        library="tensorrt",
        version=VERSION,
        device="NVIDIA H100",
        compute_capability="9.0",
        precision="float32",
        tf32=False,
        profiles="image=1x1x2x2:4x1x2x2:16x1x2x2",
    )


@pytest.fixture
def export(bundle, tmp_path):
    def exported(key, tensorrt=VERSION, **how):
        engine = write_engine(tmp_path / "net.engine", PLAN, key, {}).plan_path
        settings = {"accelerator": "plan", "engine": engine, "tensorrt": tensorrt} | how
        export_triton(bundle, tmp_path / "repo", **settings)
        text = (tmp_path / "repo/tiny/config.pbtxt").read_text()
        return text_format.Parse(text, model_config_pb2.ModelConfig())

    return exported


@pytest.fixture
def refuse(export):
    def refused(*arguments, **how):
        with pytest.raises(InputError) as caught:
            export(*arguments, **how)
        return str(caught.value)

    return refused


def test_an_engine_is_served_as_a_plan(key, export, tmp_path):
    config = export(key)
    assert (config.backend, config.platform) == ("tensorrt", "tensorrt_plan")
    assert config.default_model_filename == "model.plan"
    assert (tmp_path / "repo/tiny/1/model.plan").read_bytes() == PLAN
    assert not (tmp_path / "repo/tiny/1/model.onnx").exists()
    assert list(config.instance_group[0].profile) == ["0"]
    assert not config.parameters


def test_the_largest_batch_is_what_the_engine_takes(key, export):
    config = export(key)
    assert config.max_batch_size == 16
    assert list(config.dynamic_batching.preferred_batch_size) == [4, 8, 16]
    graphs = config.optimization.cuda
    assert graphs.graphs
    assert [spec.batch_size for spec in graphs.graph_spec] == [1, 4, 8, 16]


def test_profiles_may_share_the_batches(key, export):
    profiles = "image=1x1x2x2:1x1x2x2:4x1x2x2;image=5x1x2x2:8x1x2x2:8x1x2x2"
    config = export(replace(key, profiles=profiles))
    assert config.max_batch_size == 8
    assert list(config.instance_group[0].profile) == ["0", "1"]


def test_a_batch_that_no_profile_takes_is_refused(key, refuse):
    message = refuse(key, max_batch=32)
    assert "does not take input 'image' in batches of 17" in message
    assert "--batch 1:8:32" in message
    message = refuse(replace(key, profiles="image=2x1x2x2:4x1x2x2:8x1x2x2"))
    assert "in batches of 1, and Triton makes all from 1 to 8" in message


def test_an_engine_of_another_version_is_refused(key, refuse, export):
    assert f"is of TensorRT {VERSION}, and the server has 10.16.1" in refuse(key, "10.16.1")
    export(key, "10.14.1")


def test_the_version_has_to_be_said(key, refuse):
    message = refuse(key, None)
    assert "it is not known which one nvcr.io/nvidia/tritonserver:26.10-py3 has" in message
    assert "pass it as --tensorrt X.Y.Z" in message
    assert "--tensorrt: 10 is no version" in refuse(key, "10")


def test_an_engine_that_any_later_version_reads_takes_a_flag(key, export, refuse, tmp_path):
    portable = replace(key, flags=("VERSION_COMPATIBLE",))
    export(portable, "10.16.1", compose=True)
    flag = "--backend-config=tensorrt,version-compatible=true"
    assert flag in (tmp_path / "repo/compose.yaml").read_text()
    for other in ("11.4.0", "10.13.9"):
        assert f"the server has {other}" in refuse(portable, other, overwrite=True)


def test_an_engine_of_a_narrower_type_is_known_by_the_model_that_was_cast(
    bundle, key, export, tmp_path
):
    path = tmp_path / "narrow.onnx"
    onnx_file.save(cast(onnx.load(bundle / "model.onnx"), "float16"), path, 2**30)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert export(replace(key, model_sha256=digest, precision="float16")).max_batch_size == 16


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"model_sha256": "0" * 64}, "was built from another model than that of"),
        ({"library": "tensorrt_rtx"}, "is of tensorrt_rtx, and Triton has TensorRT"),
        ({"plugins": ("0" * 64,)}, "was built with plugin libraries"),
    ],
)
def test_an_engine_that_triton_cannot_serve_is_refused(key, refuse, change, problem):
    assert problem in refuse(replace(key, **change))


def test_an_engine_that_has_changed_or_lacks_its_record_is_refused(key, refuse, tmp_path):
    engine = write_engine(tmp_path / "other.engine", PLAN, key, {}).plan_path
    engine.write_bytes(b"b" * len(PLAN))
    assert "has changed since it was written" in refuse(key, engine=engine)
    engine.with_name("other.engine.json").unlink()
    assert "has no other.engine.json beside it" in refuse(key, engine=engine)


def test_a_plan_of_fixed_shapes_has_one_graph_and_no_profile(make_bundle, key, tmp_path):
    bundle = make_bundle("fixed", model=model(batch="4"))
    digest = hashlib.sha256(bundle.model_path.read_bytes()).hexdigest()
    fixed = replace(key, model_sha256=digest, profiles="")
    engine = write_engine(tmp_path / "fixed.engine", PLAN, fixed, {}).plan_path
    how = {"accelerator": "plan", "engine": engine, "tensorrt": VERSION}
    export_triton(bundle.path, tmp_path / "repo", **how)
    text = (tmp_path / "repo/fixed/config.pbtxt").read_text()
    config = text_format.Parse(text, model_config_pb2.ModelConfig())
    assert config.max_batch_size == 0
    assert [spec.batch_size for spec in config.optimization.cuda.graph_spec] == [0]
    assert not config.instance_group[0].profile
