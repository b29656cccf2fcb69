from dataclasses import replace

import pytest

from nd_deploy.errors import InputError
from nd_deploy.runtime.ort.engine_folder import engine_folder
from nd_deploy.runtime.tensorrt.kept.engine_key import EngineKey

KEY = EngineKey("ab" * 32, "onnxruntime", "1.31", "H200", "9.0", "float32", False, "x=1:2:4")


def test_one_key_has_one_folder_of_the_users_own(tmp_path):
    folder = engine_folder(KEY, tmp_path)
    assert folder.is_dir()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert engine_folder(KEY, tmp_path) == folder


@pytest.mark.parametrize(
    "change",
    [
        {"model_sha256": "cd" * 32},
        {"version": "1.32"},
        {"device": "H100"},
        {"compute_capability": "8.0"},
        {"tf32": True},
        {"profiles": "x=1:2:8"},
        {"plugins": ("ef" * 32,)},
        {"flags": ("trt_builder_optimization_level=5",)},
    ],
)
def test_whatever_decides_an_engine_changes_the_folder(tmp_path, change):
    assert engine_folder(replace(KEY, **change), tmp_path) != engine_folder(KEY, tmp_path)


def test_it_is_in_the_users_cache_unless_told_otherwise(tmp_path, monkeypatch):
    monkeypatch.setenv("ND_DEPLOY_CACHE", str(tmp_path))
    assert engine_folder(KEY).parent == tmp_path / "engines" / "onnxruntime"


def test_a_folder_that_others_may_write_to_is_refused(tmp_path):
    folder = engine_folder(KEY, tmp_path)
    folder.chmod(0o777)
    with pytest.raises(InputError, match="can be written by others") as caught:
        engine_folder(KEY, tmp_path)
    assert "trt_engine_cache_enable=off" in caught.value.remedy


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be made"):
        engine_folder(KEY, tmp_path / "file")
