import multiprocessing
import os
from dataclasses import replace
from pathlib import Path

import pytest
from engine_keys import KEY

from nd_deploy.errors import InputError
from nd_deploy.runtime.tensorrt.kept.engine_cache import EngineCache, Miss, default_folder
from nd_deploy.runtime.tensorrt.kept.engine_file import StoredEngine


@pytest.fixture
def cache(tmp_path):
    return EngineCache(tmp_path / "engines")


def plans(cache: EngineCache) -> list[Path]:
    return sorted(cache.folder.glob("*.engine"))


def reasons(found) -> str:
    assert isinstance(found, Miss)
    return "\n".join(found.reasons)


def test_what_is_stored_is_found(cache):
    cache.store(KEY, b"plan", {"seconds": 2})
    found = cache.find(KEY)
    assert isinstance(found, StoredEngine)
    assert (found.read(), found.key, found.receipt) == (b"plan", KEY, {"seconds": 2})


def test_a_model_that_was_never_built(cache):
    assert reasons(cache.find(KEY)) == "no engine of this model is kept yet"
    cache.store(replace(KEY, model_sha256="b" * 64), b"plan", {})
    assert reasons(cache.find(KEY)) == "no engine of this model is kept yet"


def test_a_miss_says_in_what_the_nearest_engine_differs(cache):
    cache.store(replace(KEY, precision="float16", tf32=True), b"far", {})
    cache.store(replace(KEY, version="10.3.0"), b"near", {})
    said = reasons(cache.find(KEY))
    assert said == "the nearest engine kept differs: its library's version is 10.3.0, not 10.16.1"


def test_two_keys_of_one_model_are_kept_beside_each_other(cache):
    half = replace(KEY, precision="float16")
    cache.store(KEY, b"full", {})
    cache.store(half, b"half", {})
    assert (cache.find(KEY).read(), cache.find(half).read()) == (b"full", b"half")


class TestCorruptEntries:
    @pytest.mark.parametrize("damage", [b"", b"plan!", b"other"])
    def test_are_told_not_loaded_and_replaced(self, cache, damage):
        cache.store(KEY, b"plan", {})
        plans(cache)[0].write_bytes(damage)
        assert "an entry is corrupt" in reasons(cache.find(KEY))
        cache.store(KEY, b"rebuilt", {})
        assert cache.find(KEY).read() == b"rebuilt"
        assert len(plans(cache)) == 1

    def test_a_record_that_is_no_json(self, cache):
        stored = cache.store(KEY, b"plan", {})
        stored.plan_path.with_name(f"{stored.plan_path.name}.json").write_text("{")
        assert "is malformed" in reasons(cache.find(KEY))

    def test_a_plan_that_is_gone(self, cache):
        cache.store(KEY, b"plan", {})
        plans(cache)[0].unlink()
        assert "does not exist" in reasons(cache.find(KEY))

    def test_an_engine_under_the_name_of_another(self, cache):
        wanted = cache.store(KEY, b"plan", {}).plan_path
        other = cache.store(replace(KEY, precision="float16"), b"half", {}).plan_path
        for ending in ("", ".json"):
            Path(f"{other}{ending}").rename(f"{wanted}{ending}")
        assert "holds an engine of another key" in reasons(cache.find(KEY))

    def test_hide_no_whole_one(self, cache):
        cache.store(KEY, b"one", {})
        cache.store(KEY, b"two", {})
        plans(cache)[0].write_bytes(b"damaged")
        assert isinstance(cache.find(KEY), StoredEngine)

    def test_of_another_key_do_not_matter(self, cache):
        stored = cache.store(replace(KEY, tf32=True), b"plan", {})
        stored.plan_path.with_name(f"{stored.plan_path.name}.json").write_text("{")
        assert "no engine of this model" in reasons(cache.find(KEY))


def test_a_plan_whose_record_is_not_there_yet_is_no_entry(cache):
    stored = cache.store(KEY, b"plan", {})
    stored.plan_path.with_name(f"{stored.plan_path.name}.json").unlink()
    assert "no engine of this model" in reasons(cache.find(KEY))


def store_often(folder: Path, text: str) -> None:
    cache = EngineCache(folder)
    for turn in range(20):
        cache.store(KEY, f"{text} {turn % 2}".encode() * 10_000, {"who": text})
        found = cache.find(KEY)
        assert isinstance(found, StoredEngine), found
        found.read()


def test_processes_that_store_at_once_spoil_nothing(cache):
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=store_often, args=(cache.folder, who)) for who in ("a", "b")
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert isinstance(cache.find(KEY), StoredEngine)


class TestFolder:
    def test_the_environment_decides(self, monkeypatch, tmp_path):
        monkeypatch.setenv("ND_DEPLOY_CACHE", str(tmp_path / "ours"))
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "theirs"))
        assert EngineCache().folder == tmp_path / "ours" / "engines"
        monkeypatch.delenv("ND_DEPLOY_CACHE")
        assert default_folder() == tmp_path / "theirs" / "nd-deploy" / "engines"

    def test_a_relative_xdg_folder_is_ignored(self, monkeypatch, tmp_path):
        monkeypatch.delenv("ND_DEPLOY_CACHE", raising=False)
        monkeypatch.setenv("XDG_CACHE_HOME", "caches")
        monkeypatch.setenv("HOME", str(tmp_path))
        assert default_folder() == tmp_path / ".cache" / "nd-deploy" / "engines"

    def test_no_home_folder(self, monkeypatch):
        def homeless():
            raise RuntimeError("no home")

        monkeypatch.delenv("ND_DEPLOY_CACHE", raising=False)
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        monkeypatch.setattr(Path, "home", homeless)
        with pytest.raises(InputError, match="no home folder") as caught:
            default_folder()
        assert "ND_DEPLOY_CACHE" in caught.value.remedy

    def test_one_that_cannot_be_made_is_refused_before_any_work(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(InputError, match="cannot be made") as caught:
            EngineCache(tmp_path / "file" / "engines").check_writable()
        assert "ND_DEPLOY_CACHE" in caught.value.remedy

    def test_one_that_cannot_be_written(self, cache, monkeypatch):
        monkeypatch.setattr(os, "access", lambda *_: False)
        with pytest.raises(InputError, match="not writable"):
            cache.store(KEY, b"plan", {})

    def test_one_that_cannot_be_locked(self, cache):
        (cache.folder / ".lock").mkdir(parents=True)
        with pytest.raises(InputError, match="cannot be locked"):
            cache.store(KEY, b"plan", {})

    def test_nobody_else_may_put_engines_there(self, cache):
        cache.check_writable()
        assert cache.folder.stat().st_mode & 0o077 == 0


def test_timings_of_another_gpu_or_version_are_kept_apart(cache):
    paths = {
        cache.timing_cache_path("tensorrt", "10.16.1", "NVIDIA H200"),
        cache.timing_cache_path("tensorrt", "10.3.0", "NVIDIA H200"),
        cache.timing_cache_path("tensorrt", "10.16.1", "Orin (nvgpu) / ../x"),
    }
    assert len(paths) == 3
    assert {path.parent for path in paths} == {cache.folder}
    assert cache.folder.is_dir()
