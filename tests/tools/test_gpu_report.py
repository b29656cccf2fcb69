"""What is written down, when, and what of earlier runs is kept."""

import json

import pytest
from gpu.parts import Part, Settings
from gpu.report import RESULTS, Journal, earlier, exit_code, measured, with_libraries
from made_up import MACHINE, error, whitening

ORDER = ("device", "launchers", "plugin", "errors", "frozen")
DEVICE = Part("device", "ran", rows=[{"what": "GPU", "is": "NVIDIA H200"}])
FROZEN = Part("frozen", "ran", rows=[whitening()])
ERRORS = Part("errors", "ran", rows=[error()])


@pytest.fixture
def start(tmp_path):
    def journal(command="first", machine=MACHINE):
        return Journal(tmp_path / "out", tmp_path / "docs/page.md", command, machine, ORDER)

    return journal


def written(tmp_path):
    return {
        part["name"]: part for part in json.loads((tmp_path / "out" / RESULTS).read_text())["parts"]
    }


def test_nothing_is_written_before_something_was_measured(start, tmp_path):
    journal = start()
    journal.add(DEVICE)
    journal.add(Part("frozen", "not run", "no library"))
    assert not measured(journal.run)
    assert not list(tmp_path.iterdir())
    journal.add(ERRORS, quick=True)
    assert set(written(tmp_path)) == {"device", "errors", "frozen"}
    assert written(tmp_path)["errors"]["quick"] is True
    assert "# What was measured on a GPU" in (tmp_path / "docs/page.md").read_text()
    assert not list(tmp_path.rglob(".*.new"))


def test_runs_of_some_parts_each_add_up_to_one_report(start, tmp_path):
    first = start("first")
    first.add(DEVICE)
    first.add(FROZEN)
    second = start("second")
    second.add(DEVICE)
    second.add(ERRORS)
    assert {name: part["command"] for name, part in written(tmp_path).items()} == {
        "device": "second",
        "errors": "second",
        "frozen": "first",
    }
    assert [part.name for part in second.parts] == ["device", "errors", "frozen"]
    assert [part.name for part in second.run] == ["device", "errors"]
    text = (tmp_path / "docs/page.md").read_text()
    assert "`first`" in text
    assert "`second`" in text


def test_what_cannot_be_run_now_is_no_reason_to_forget_what_was_measured(start, tmp_path):
    start("first").add(FROZEN)
    second = start("second")
    second.add(Part("frozen", "not run", "the time was over"))
    second.add(ERRORS)
    assert written(tmp_path)["frozen"]["status"] == "ran"
    third = start("third")
    third.add(Part("frozen", "failed", "it crashed"))
    assert written(tmp_path)["frozen"]["reason"] == "it crashed"


@pytest.mark.parametrize(
    "change",
    [
        {"gpu": {"name": "NVIDIA H100 PCIe", "driver_version": "580.65.06"}},
        {"gpu": {"name": "NVIDIA H200", "driver_version": "590.1"}},
        {"gpu": None},
        {"versions": {"torch": "2.11.0"}},
        {"sources": "4567"},
    ],
)
def test_figures_of_another_machine_or_version_are_not_kept(start, tmp_path, change):
    start().add(FROZEN)
    file = tmp_path / "out" / RESULTS
    assert [part.name for part in earlier(file, MACHINE)] == ["frozen"]
    assert earlier(file, MACHINE | change) == []


def test_the_gpus_temperature_is_no_other_machine(start, tmp_path):
    start().add(FROZEN)
    warm = MACHINE | {"gpu": MACHINE["gpu"] | {"temperature.gpu": "60"}}
    assert earlier(tmp_path / "out" / RESULTS, warm)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 1}', '{"schema": 2, "machine": {}}'])
def test_a_damaged_or_foreign_file_holds_no_earlier_parts(tmp_path, text):
    (tmp_path / RESULTS).write_text(text)
    assert earlier(tmp_path / RESULTS, MACHINE) == []


def test_the_libraries_that_were_built_are_used_by_the_parts_behind(tmp_path):
    files = {name: tmp_path / name for name in ("a.so", "b.so", "c.so")}
    for file in files.values():
        file.touch()
    whats = dict(zip(("library", "self-registering", "launchers"), files.values(), strict=True))
    rows = [{"what": what, "path": str(path)} for what, path in whats.items()]
    built = [Part("launchers", "ran", rows=rows[2:]), Part("plugin", "ran", rows=rows[:2])]
    found = with_libraries(Settings(), built)
    assert found == Settings(
        **{
            "library": str(files["a.so"]),
            "self_registering": str(files["b.so"]),
            "launchers": str(files["c.so"]),
        }
    )
    assert with_libraries(Settings(library="d.so"), built).library == "d.so"
    files["a.so"].unlink()
    assert with_libraries(Settings(), built).library is None


def test_the_exit_code_tells_failures_from_what_could_not_run():
    not_run, failed = Part("plugin", "not run"), Part("errors", "failed")
    assert exit_code([DEVICE, FROZEN]) == 0
    assert exit_code([DEVICE, not_run]) == 3
    assert exit_code([not_run, failed, FROZEN]) == 1
