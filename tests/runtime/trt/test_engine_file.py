import hashlib
import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from engine_keys import KEY

from nd_deploy.errors import BackendError, InputError
from nd_deploy.runtime.tensorrt.kept.engine_file import check_engine, read_engine, write_engine

PLAN = b"a plan" * 100
RECEIPT = {"seconds": 1.5, "layers": ["conv", "relu"]}


@pytest.fixture
def path(tmp_path):
    write_engine(tmp_path / "new" / "net.engine", PLAN, KEY, RECEIPT)
    return tmp_path / "new" / "net.engine"


def record_of(path: Path) -> Path:
    return path.with_name("net.engine.json")


def change(path: Path, **fields) -> None:
    record = json.loads(record_of(path).read_text())
    record_of(path).write_text(json.dumps(record | fields))


class TestWriting:
    def test_what_is_written_is_read(self, path):
        stored = read_engine(path)
        assert (stored.plan_path, stored.key, stored.receipt) == (path, KEY, RECEIPT)
        assert stored.read() == PLAN
        assert stored.sha256 == hashlib.sha256(PLAN).hexdigest()

    def test_nothing_else_is_left_and_others_may_read(self, path):
        assert sorted(item.name for item in path.parent.iterdir()) == [
            "net.engine",
            "net.engine.json",
        ]
        beside = path.with_name("plain")
        beside.touch()
        assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(beside.stat().st_mode)

    def test_an_engine_is_replaced(self, path):
        write_engine(path, b"another", replace(KEY, precision="float16"), {})
        assert read_engine(path).read() == b"another"

    def test_a_failure_keeps_what_was_there(self, path, monkeypatch):
        def fail(self, target):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Path, "replace", fail)
        with pytest.raises(InputError, match="disk is full"):
            write_engine(path, b"another", KEY, {})
        assert read_engine(path).read() == PLAN
        assert len(list(path.parent.iterdir())) == 2

    def test_an_interruption_between_the_files_is_noticed(self, path, monkeypatch):
        whole = Path.replace

        def interrupt(self, target):
            if target.suffix == ".json":
                raise KeyboardInterrupt
            return whole(self, target)

        monkeypatch.setattr(Path, "replace", interrupt)
        with pytest.raises(KeyboardInterrupt):
            write_engine(path, b"b" * len(PLAN), KEY, {})
        with pytest.raises(InputError, match="has changed"):
            read_engine(path)


class TestRefusals:
    def test_a_missing_file(self, tmp_path):
        with pytest.raises(InputError, match=r"absent\.engine does not exist"):
            read_engine(tmp_path / "absent.engine")
        with pytest.raises(InputError, match="is no file"):
            read_engine(tmp_path)

    def test_an_engine_without_a_record(self, path):
        record_of(path).unlink()
        with pytest.raises(InputError, match=r"no net\.engine\.json beside it"):
            read_engine(path)

    def test_an_engine_without_a_record_that_is_trusted(self, path):
        record_of(path).unlink()
        stored = read_engine(path, trust_unrecorded=True)
        assert stored.key is None
        assert stored.receipt == {}
        assert stored.read() == PLAN

    @pytest.mark.parametrize("text", ["{", "[]", '{"kind": "nd-deploy engine"}', "\xff"])
    def test_a_malformed_record(self, path, text):
        record_of(path).write_text(text, encoding="latin-1")
        with pytest.raises(InputError, match=r"net\.engine\.json is malformed"):
            read_engine(path, trust_unrecorded=True)

    @pytest.mark.parametrize("field", ["key", "receipt", "plan"])
    def test_a_record_with_a_field_of_another_type(self, path, field):
        change(path, **{field: 3})
        with pytest.raises(InputError, match="is malformed"):
            read_engine(path)

    def test_another_tools_record(self, path):
        record_of(path).write_text('{"layers": []}')
        with pytest.raises(InputError, match="something else's"):
            read_engine(path)
        assert read_engine(path, trust_unrecorded=True).key is None

    def test_a_newer_nd_deploy(self, path):
        change(path, schema=99, key={"of": "another shape"})
        with pytest.raises(InputError, match="newer nd-deploy \\(schema 99"):
            read_engine(path)

    def test_a_truncated_plan(self, path):
        path.write_bytes(PLAN[:-1])
        with pytest.raises(InputError, match="truncated"):
            read_engine(path, trust_unrecorded=True)

    def test_a_changed_plan(self, path):
        path.write_bytes(b"x" + PLAN[1:])
        with pytest.raises(InputError, match="changed since it was written"):
            read_engine(path, trust_unrecorded=True)

    def test_a_plan_that_changes_later(self, path):
        stored = read_engine(path)
        path.write_bytes(b"x" + PLAN[1:])
        with pytest.raises(InputError, match="changed since it was opened"):
            stored.read()
        path.unlink()
        with pytest.raises(InputError, match="cannot be read"):
            stored.read()

    def test_a_folder_that_cannot_be_made(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(InputError, match=r"net\.engine cannot be written"):
            write_engine(tmp_path / "file" / "net.engine", PLAN, KEY, {})


class TestFit:
    def test_the_engine_wanted_fits(self, path):
        check_engine(read_engine(path), KEY)

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"model_sha256": "b" * 64}, f"model's sha256 is {'a' * 64}, not {'b' * 64}"),
            ({"version": "10.3.0"}, "version is 10.16.1, not 10.3.0"),
            ({"compute_capability": "8.0"}, "compute capability is 9.0, not 8.0"),
            ({"precision": "float16"}, "precision is float32, not float16"),
            ({"profiles": "x: 2x3x8x8"}, "profile is x: 1x3x8x8, not x: 2x3x8x8"),
            ({"plugins": ("c" * 64,)}, f"plugin libraries are none, not {'c' * 64}"),
        ],
    )
    def test_another_one_is_refused_with_what_differs_and_what_to_do(self, path, changes, said):
        with pytest.raises(BackendError) as caught:
            check_engine(read_engine(path), replace(KEY, **changes))
        assert said in caught.value.problem
        assert "net.engine" in caught.value.problem
        assert "nd-deploy build" in caught.value.remedy

    def test_nothing_is_known_of_an_engine_taken_on_trust(self, path):
        record_of(path).unlink()
        check_engine(read_engine(path, trust_unrecorded=True), KEY)
