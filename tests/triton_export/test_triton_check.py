import shutil

import onnx
import pytest
from broken_configs import REFUSED_BY_THE_CORE, REFUSED_LATER
from tiny_bundle import model

from nd_deploy.errors import InputError
from nd_deploy.triton.check import check_repository
from nd_deploy.triton.export import export_triton

CONFIG = "tiny/config.pbtxt"


@pytest.fixture
def repo(bundle, tmp_path):
    export_triton(bundle, tmp_path / "repo", accelerator="tensorrt", compose=True)
    return tmp_path / "repo"


def change(repo, old, new):
    text = (repo / CONFIG).read_text()
    assert old in text
    (repo / CONFIG).write_text(text.replace(old, new))


def findings(repo):
    return [str(finding) for finding in check_repository(repo)]


def test_nothing_is_found_in_what_was_exported(repo):
    assert findings(repo) == []


@pytest.mark.parametrize(("old", "new", "found"), REFUSED_BY_THE_CORE + REFUSED_LATER)
def test_what_triton_refuses_is_found(repo, old, new, found):
    change(repo, old, new)
    assert any(found in finding for finding in findings(repo)), findings(repo)


def test_a_model_that_nothing_is_said_to_run_is_found(repo):
    change(repo, 'backend: "onnxruntime"', "")
    change(repo, 'default_model_filename: "model.onnx"', "")
    assert findings(repo) == []
    change(repo, 'platform: "onnxruntime_onnx"', "")
    assert "tiny: there is no backend: nothing says what runs the model" in findings(repo)


def test_a_scalar_is_found_where_nothing_is_batched(repo):
    change(repo, "max_batch_size: 32", "max_batch_size: 0")
    change(repo, "dims: [3]", "dims: [1] reshape { shape: [] }")
    assert any("output 'logits' is a scalar" in finding for finding in findings(repo))


def test_a_fixed_batch_is_found_where_triton_is_to_add_one(repo):
    onnx.save(model(batch="4"), repo / "tiny/1/model.onnx")
    assert any("its first axis is no open batch" in finding for finding in findings(repo))


def test_a_model_without_a_version_is_found(repo):
    shutil.rmtree(repo / "tiny/1")
    assert any("there is no version" in finding for finding in findings(repo))


def test_weights_that_are_elsewhere_are_found(repo):
    proto = model()
    weight = proto.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="../../secret")
    (repo / "tiny/1/model.onnx").write_bytes(proto.SerializeToString())
    assert any("keeps weights in ../../secret" in finding for finding in findings(repo))


def test_a_file_that_is_no_model_is_found(repo):
    (repo / "tiny/1/model.onnx").write_bytes(b"\xff" * 8)
    assert any("model.onnx is no ONNX model" in finding for finding in findings(repo))


def test_what_has_changed_since_is_found_but_not_what_an_operator_tunes(repo):
    change(repo, "count: 1", "count: 2")
    (repo / "compose.yaml").write_text("services: {}\n")
    assert findings(repo) == []
    (repo / "tiny/labels.txt").write_text("cat\nfox\nowl\n")
    assert findings(repo) == [
        "tiny/labels.txt: has changed: nd_manifest.json has another hash of it"
    ]
    (repo / "compose.yaml").unlink()
    assert "compose.yaml: is missing: nd_manifest.json lists it" in findings(repo)


def test_a_repository_of_somebody_elses_is_checked_too(repo):
    (repo / "nd_manifest.json").unlink()
    (repo / "empty").mkdir()
    (found,) = findings(repo)
    assert found.startswith("empty: config.pbtxt cannot be read")


def test_a_folder_without_models_is_found(tmp_path):
    assert findings(tmp_path) == [f"{tmp_path}: there is no model: each is a folder of its own"]
    with pytest.raises(InputError, match="does not exist"):
        check_repository(tmp_path / "absent")


@pytest.mark.parametrize("text", ["{", '{"kind": "bundle"}', '{"files": {}, "schema_version": 1}'])
def test_a_record_that_is_none_is_refused(repo, text):
    (repo / "nd_manifest.json").write_text(text)
    with pytest.raises(InputError, match=r"nd_manifest\.json (cannot be read|is no record)"):
        check_repository(repo)
