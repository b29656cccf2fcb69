import errno
import json
import stat
import sys
from pathlib import Path

import pytest
from made_up_profiles import on_a_gpu, on_a_processor, profile, row

from nd_deploy.errors import InputError, MissingDependencyError
from nd_deploy.report import export
from nd_deploy.report.export import SUFFIXES, check_export, write_profile
from nd_deploy.report.json_file import read_profile

TEXTS = (".json", ".csv", ".md")


@pytest.fixture(autouse=True)
def no_page(monkeypatch):
    """The page has tests of its own, and takes its time."""
    page = "<!DOCTYPE html>\n<title>a page</title>\n"
    monkeypatch.setattr("nd_deploy.report.page.profile_page", lambda measurement, bundle: page)


@pytest.fixture
def measured(tmp_path):
    """A measurement in a file."""
    path = tmp_path / "profile.json"
    write_profile(on_a_processor(), path)
    return path


def refusal(work, *given, **named):
    with pytest.raises(InputError) as caught:
        work(*given, **named)
    assert caught.value.remedy
    return caught.value.problem


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_is_written_in_the_format_of_its_name(suffix, tmp_path):
    path = tmp_path / f"out{suffix.upper()}"
    write_profile(on_a_processor(), path)
    content = path.read_text()
    assert {
        ".json": '"kind": "nd-deploy profile"',
        ".csv": "created,model,runtime,batch",
        ".md": "| ---: | --- |",
        ".html": "<!DOCTYPE html>\n<title>a page",
    }[suffix] in content
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("made_up", [on_a_processor, on_a_gpu, profile])
def test_json_holds_the_whole_measurement_to_six_digits(made_up, tmp_path):
    measurement = made_up()
    write_profile(measurement, tmp_path / "a.json")
    found = read_profile(tmp_path / "a.json")
    assert_alike(found.as_dict(), measurement.as_dict())
    write_profile(found, tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def assert_alike(found, expected):
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for name in expected:
            assert_alike(found[name], expected[name])
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_alike(one, other)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=5e-6, abs=0)
    else:
        assert found == expected


def test_whole_numbers_keep_all_their_digits(tmp_path):
    usage = on_a_processor().rows[0].usage
    exact = type(usage)(flops=123456789012.0, bytes=9876543210.0)
    write_profile(profile(row(usage=exact)), tmp_path / "a.json")
    assert read_profile(tmp_path / "a.json").rows[0].usage == exact


def test_a_row_with_five_metrics_is_a_small_file(tmp_path):
    write_profile(profile(on_a_gpu().rows[0]), tmp_path / "a.json")
    assert (tmp_path / "a.json").stat().st_size < 30_000


def test_an_unknown_format_is_refused(tmp_path):
    assert "ends in .txt" in refusal(check_export, tmp_path / "a.txt")
    assert "ends in no suffix" in refusal(check_export, tmp_path / "json")


def test_a_folder_that_is_missing_is_refused(tmp_path):
    assert f"no folder {tmp_path / 'no'}" in refusal(check_export, tmp_path / "no" / "a.json")
    (tmp_path / "file").touch()
    assert "no folder" in refusal(check_export, tmp_path / "file" / "a.json")


def test_a_folder_that_may_not_be_written_to_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(export.os, "access", lambda path, mode: False)
    assert f"the folder {tmp_path} may not be" in refusal(check_export, tmp_path / "a.json")


def test_a_page_is_refused_before_any_work_where_nothing_draws_its_charts(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError, match="matplotlib") as caught:
        check_export(tmp_path / "a.html")
    assert "nd-deploy[report]" in caught.value.remedy
    check_export(tmp_path / "a.md")


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_that_name_is_refused(overwrite, tmp_path):
    (tmp_path / "a.json").mkdir()
    assert "is no file" in refusal(check_export, tmp_path / "a.json", overwrite)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_measurement_that_is_there_is_kept_unless_it_may_be_replaced(suffix, tmp_path):
    path = tmp_path / f"a{suffix}"
    write_profile(on_a_processor(), path)
    before = path.read_bytes()
    for work in (check_export, lambda path: write_profile(on_a_gpu(), path)):
        assert refusal(work, path) == f"{path} exists already"
    assert path.read_bytes() == before
    check_export(path, overwrite=True)
    write_profile(on_a_gpu(), path, overwrite=True)
    assert path.exists()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_of_somebody_elses_is_never_replaced(suffix, tmp_path):
    path = tmp_path / f"a{suffix}"
    path.write_text('{"kind": "something else"}')
    assert "is no measurement" in refusal(check_export, path, overwrite=True)
    path.write_bytes(b"\xff\xfe\x00")
    assert "is no measurement" in refusal(check_export, path, overwrite=True)


def test_a_file_that_cannot_be_read_is_never_replaced(tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    write_profile(on_a_gpu(), path)

    def fail(*given):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", fail)
    assert "is no measurement" in refusal(check_export, path, overwrite=True)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_empty_file_may_be_replaced(suffix, tmp_path):
    (tmp_path / f"a{suffix}").touch()
    check_export(tmp_path / f"a{suffix}", overwrite=True)


def test_a_link_stays_one(tmp_path):
    (tmp_path / "link.csv").symlink_to(tmp_path / "a.csv")
    write_profile(on_a_gpu(), tmp_path / "link.csv")
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "a.csv").is_file()


def test_others_may_read_the_file_as_they_may_any_other(tmp_path):
    (tmp_path / "plain").touch()
    write_profile(on_a_gpu(), tmp_path / "a.csv")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "a.csv")}
    assert len(modes) == 1


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
def test_a_file_that_is_there_survives_a_failure(error, measured, monkeypatch):
    before = measured.read_bytes()

    def fail(path, content):
        path.open("wb").write(content[:100])
        raise error

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises((InputError, KeyboardInterrupt)) as caught:
        write_profile(on_a_gpu(), measured, overwrite=True)
    if isinstance(error, OSError):
        assert f"{measured} cannot be written: the disk is full" in caught.value.problem
    assert measured.read_bytes() == before
    assert [each.name for each in measured.parent.iterdir()] == [measured.name]


@pytest.mark.parametrize("suffix", TEXTS)
def test_a_name_that_is_no_unicode_is_no_reason_to_fail(suffix, tmp_path):
    write_profile(profile(row("caf\udce9")), tmp_path / f"a{suffix}")
    assert "udce9" in (tmp_path / f"a{suffix}").read_text()


def test_a_missing_file_is_named(tmp_path):
    assert refusal(read_profile, tmp_path / "a.json") == f"{tmp_path / 'a.json'} does not exist"


def test_a_folder_is_named(tmp_path):
    assert refusal(read_profile, tmp_path) == f"{tmp_path} is a folder"


def test_a_file_under_a_file_is_named(measured):
    assert f"{measured / 'a'} cannot be read" in refusal(read_profile, measured / "a")


def test_a_file_that_is_cut_off_anywhere_is_named(tmp_path):
    path = tmp_path / "a.json"
    whole = '{"kind": "nd-deploy \\u00e9\\n", "rows": [1.5e-3, -20, true, false, null, {}]}'
    for length in range(1, len(whole)):
        path.write_text(whole[:length])
        assert refusal(read_profile, path) == f"{path} is cut off after {length} characters"


@pytest.mark.parametrize(
    "content", ["", "abc", "no JSON", "{1: 2, 3: 4, 5: 6}", '{"a": 1} {"b": 2}']
)
def test_a_file_that_is_no_json_is_named(content, measured):
    measured.write_text(content)
    assert refusal(read_profile, measured).startswith(f"{measured} holds no JSON: ")


@pytest.mark.parametrize("content", ["[]", "3", '{"kind": "nd-deploy bundle"}', "{}", "[" * 5000])
def test_json_of_another_kind_is_named(content, measured):
    measured.write_text(content)
    assert refusal(read_profile, measured).startswith(f"{measured} holds no measurement")


def test_bytes_that_are_no_text_are_named(measured):
    measured.write_bytes(b"\xff\xfe\x00")
    assert str(measured) in refusal(read_profile, measured)


def test_a_measurement_of_a_newer_version_is_named_and_the_remedy_is_an_upgrade(measured):
    fields = json.loads(measured.read_text()) | {"schema_version": 2}
    measured.write_text(json.dumps(fields))
    with pytest.raises(InputError, match=r"newer nd-deploy \(schema 2") as caught:
        read_profile(measured)
    assert caught.value.remedy == "pip install --upgrade nd-deploy"


@pytest.mark.parametrize(
    "change",
    [
        {"rows": [3]},
        {"rows": [{"contestant": {}}]},
        {"environment": {"cpu": []}},
        {"schema_version": "1"},
        {"interrupted": "no"},
        {"remarks": [{"kind": None}]},
    ],
)
def test_a_field_that_is_not_what_it_has_to_be_is_refused(change, measured):
    measured.write_text(json.dumps(json.loads(measured.read_text()) | change))
    assert refusal(read_profile, measured).startswith(f"{measured} is malformed: ")


@pytest.mark.parametrize(
    ("name", "value"),
    [("rounds", [1.0]), ("rounds", [[None]]), ("rounds", [["fast"]]), ("summary", [])],
)
def test_times_that_are_none_are_refused(name, value, measured):
    fields = json.loads(measured.read_text())
    fields["rows"][0]["metrics"]["latency"][name] = value
    measured.write_text(json.dumps(fields))
    assert refusal(read_profile, measured).startswith(f"{measured} is malformed: ")


@pytest.mark.parametrize("value", [None, "many", 1e999, {}])
def test_sizes_that_are_none_are_refused(value, measured):
    fields = json.loads(measured.read_text())
    fields["rows"][0]["memory"] = {"host": value}
    measured.write_text(json.dumps(fields))
    assert refusal(read_profile, measured).startswith(f"{measured} is malformed: ")
