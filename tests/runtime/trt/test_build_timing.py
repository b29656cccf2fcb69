from types import SimpleNamespace

import pytest

from nd_deploy.errors import InputError
from nd_deploy.runtime.tensorrt.building.timing import read_timing_cache, write_timing_cache

EMPTY, OURS = b"head", b"head of this GPU, measurements"


class Config:
    """TensorRT's way with timing caches: one that does not fit comes back in some way or other."""

    def __init__(self, misfit="empty"):
        self.misfit, self.used = misfit, None

    def create_timing_cache(self, known):
        if known in (b"", OURS):
            return SimpleNamespace(serialize=lambda: known or EMPTY)
        if self.misfit == "none":
            return None
        content = EMPTY if self.misfit == "empty" else known
        return SimpleNamespace(serialize=lambda: content, refused=self.misfit == "refused")

    def set_timing_cache(self, cache, ignore_mismatch):
        assert ignore_mismatch is False
        if getattr(cache, "refused", False):
            return False
        self.used = cache.serialize()
        return True

    def get_timing_cache(self):
        return SimpleNamespace(serialize=lambda: OURS)


def test_a_cache_that_is_not_there_is_new(tmp_path):
    config, lines = Config(), []
    assert read_timing_cache(config, tmp_path / "cache", lines.append) == "new"
    assert config.used == EMPTY
    assert lines == []


@pytest.mark.parametrize("content", [OURS, EMPTY])
def test_a_cache_that_fits_is_read(tmp_path, content):
    path, config, lines = tmp_path / "cache", Config("whole"), []
    path.write_bytes(content)
    assert read_timing_cache(config, path, lines.append) == "read"
    assert config.used == content
    assert lines == []


@pytest.mark.parametrize("misfit", ["none", "empty", "refused"])
def test_a_cache_of_another_gpu_is_told_and_measured_anew(tmp_path, misfit):
    path, config, lines = tmp_path / "cache", Config(misfit), []
    path.write_bytes(b"of another GPU")
    assert read_timing_cache(config, path, lines.append) == "rebuilt"
    assert config.used == EMPTY
    assert str(path) in lines[0]


def test_a_cache_is_written_whole_into_a_folder_that_is_made(tmp_path):
    path = tmp_path / "new" / "cache"
    write_timing_cache(Config(), path)
    assert path.read_bytes() == OURS
    assert list(path.parent.iterdir()) == [path]


def test_a_cache_that_cannot_be_written_or_read_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"--timing-cache .* cannot be written"):
        write_timing_cache(Config(), tmp_path / "file" / "cache")
    with pytest.raises(InputError, match=r"--timing-cache .* cannot be read"):
        read_timing_cache(Config(), tmp_path, print)
