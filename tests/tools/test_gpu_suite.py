"""The suite's command line, and what it does on a machine without a GPU."""

import subprocess
import sys
from pathlib import Path

import gpu_suite
import pytest
from gpu.parts import Part, Settings
from gpu.report import Journal
from gpu.tables import TITLES
from made_up import MACHINE

SCRIPT = Path(gpu_suite.__file__)


def test_parts_run_in_their_own_order_and_unknown_ones_are_refused(capsys):
    assert gpu_suite.parse(["--parts", "dynamic, plugin"]).parts == ["plugin", "dynamic"]
    assert gpu_suite.parse([]).parts == list(gpu_suite.PARTS)
    with pytest.raises(SystemExit):
        gpu_suite.parse(["--parts", "frozen,speed"])
    assert "there is no part speed; parts: device, launchers" in capsys.readouterr().err
    assert set(TITLES) == set(gpu_suite.PARTS)


def test_help_has_every_part_option_and_exit_code(capsys):
    with pytest.raises(SystemExit):
        gpu_suite.main(["--help"])
    text = capsys.readouterr().out
    for name in gpu_suite.PARTS:
        assert f"\n  {name:10} " in text
    for word in (
        "--quick",
        "--limit",
        "--headers",
        "TENSORRT_INCLUDE_DIR",
        "exit code: 0",
        "3 none",
    ):
        assert word in text


def test_every_part_can_be_imported_and_has_its_function():
    for name in gpu_suite._HOMES:
        module, function = gpu_suite._HOMES[name]
        assert callable(getattr(__import__(module, fromlist=[function]), function)), name


@pytest.fixture
def no_gpu():
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")


def test_without_a_gpu_every_part_says_so_and_nothing_is_written(no_gpu, tmp_path):
    out, page = tmp_path / "out", tmp_path / "page.md"
    command = [sys.executable, SCRIPT, "--folder", out, "--page", page]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    lines = [line.split(maxsplit=1) for line in done.stdout.splitlines() if line]
    assert [line[0] for line in lines[:-1]] == list(gpu_suite.PARTS)
    for _, text in lines[:-1]:
        assert text.startswith("not run  PyTorch ")
        assert "finds no CUDA device: pip install torch" in text
    assert done.stdout.endswith("Nothing was measured, nothing is written.\n")
    assert not list(tmp_path.iterdir())


def test_without_a_gpu_a_part_by_itself_says_so_too(no_gpu):
    for name in gpu_suite._HOMES:
        part = gpu_suite.run_part(name, Settings())
        assert part.status == "not run", name
        assert "finds no CUDA device" in part.reason


def test_a_part_whose_packages_are_not_installed_says_what_installs_them(monkeypatch, tmp_path):
    (tmp_path / "part_that_lacks_one.py").write_text("import no_such_package")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(gpu_suite._HOMES, "frozen", ("part_that_lacks_one", "run"))
    part = gpu_suite.run_part("frozen", Settings())
    assert part.status == "not run"
    assert part.reason.startswith(
        "No module named 'no_such_package': pip install 'nd-deploy[export"
    )


@pytest.fixture
def played(monkeypatch, tmp_path):
    """Runs parts that are made up, and tells which were started with what."""
    started = []

    def play(names, endings, **options):
        def child(name, settings, script, patience=3600.0):
            started.append((name, settings, patience))
            return endings.get(name, Part(name, "ran", rows=[{"what": name}]))

        monkeypatch.setattr(gpu_suite, "run_in_child", child)
        journal = Journal(
            tmp_path / "out", tmp_path / "page.md", "", MACHINE, list(gpu_suite.PARTS)
        )
        for part in gpu_suite.run_all(names, Settings(), journal, **options):
            journal.add(part)
        return journal.run

    play.started = started
    return play


def test_a_part_that_fails_does_not_stop_the_others(played):
    endings = {"plugin": Part("plugin", "failed", "no"), "errors": Part("errors", "not run", "no")}
    found = played(["plugin", "errors", "frozen"], endings)
    assert [(part.name, part.status) for part in found] == [
        ("device", "ran"),
        ("plugin", "failed"),
        ("errors", "not run"),
        ("frozen", "ran"),
    ]


def test_without_a_device_no_other_part_is_started(played):
    found = played(["device", "frozen"], {"device": Part("device", "not run", "no GPU")})
    assert [name for name, *_ in played.started] == ["device"]
    assert [(part.name, part.reason) for part in found] == [
        ("device", "no GPU"),
        ("frozen", "no GPU"),
    ]


def test_a_part_is_given_what_the_parts_before_it_have_built(played, tmp_path):
    library = tmp_path / "lib.so"
    library.touch()
    rows = [{"what": "launchers", "path": str(library)}]
    played(["launchers", "frozen"], {"launchers": Part("launchers", "ran", rows=rows)})
    assert played.started[-1][1].launchers == str(library)


def test_no_part_outlasts_the_limit(played):
    found = played(["launchers", "frozen"], {}, limit=1000.0)
    assert {part.status for part in found} == {"ran"}
    assert all(patience <= 1000 for name, _, patience in played.started if name != "device")
    late = played(["frozen"], {}, limit=0.0)
    assert (late[-1].status, late[-1].reason) == ("not run", "the 0 s of --limit were over")
