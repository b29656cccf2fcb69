"""How parts of the suite end, and how they are run in processes of their own."""

import os
import time
from pathlib import Path

import pytest
from gpu.children import run_in_child
from gpu.parts import (
    INSTALL,
    CannotRun,
    Part,
    PartFailed,
    Settings,
    attempt,
    left_out,
    require_any,
    require_right,
    run_here,
)


def refuse(settings):
    raise CannotRun("no GPU")


def find_fault(settings):
    raise PartFailed("one is wrong", [{"row": 1}])


def break_down(settings):
    raise ValueError("unforeseen")


def lack_a_package(settings):
    raise ModuleNotFoundError("No module named 'onnx'", name="onnx")


def lack_a_module(settings):
    raise ModuleNotFoundError("No module named 'nd_deploy.old'", name="nd_deploy.old")


def skip_one(settings):
    return [{"status": "not run", "reason": "no TensorRT"}, {"status": "ok", "reason": ""}]


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (lambda settings: [{"row": 1}], Part("p", "ran", "", [{"row": 1}])),
        (skip_one, Part("p", "ran", "1 of 2 not run: no TensorRT", skip_one(None))),
        (refuse, Part("p", "not run", "no GPU")),
        (find_fault, Part("p", "failed", "one is wrong", [{"row": 1}])),
        (lack_a_package, Part("p", "not run", f"No module named 'onnx': {INSTALL}")),
        (
            lack_a_module,
            Part("p", "failed", "ModuleNotFoundError: No module named 'nd_deploy.old'"),
        ),
        (break_down, Part("p", "failed", "ValueError: unforeseen")),
    ],
)
def test_however_a_part_ends_is_on_record(run, expected):
    assert run_here("p", lambda: run, Settings()) == expected


def test_rows_that_could_not_be_run_say_why_once():
    rows = [{"status": "not run", "reason": reason} for reason in ("a", "b", "a", "c", "d")]
    assert left_out(rows) == "5 of 5 not run: a; b; c; and more"
    with pytest.raises(CannotRun, match="5 of 5 not run"):
        require_any(rows)
    require_any([*rows, {"status": "ok"}])
    require_any([])


def test_a_row_that_is_wrong_fails_its_part_and_keeps_the_others():
    rows = [{"n": 1, "status": "ok"}, {"n": 2, "status": "wrong", "reason": "off by 3"}, {"n": 3}]
    require_right(rows[::2], str)
    with pytest.raises(PartFailed, match="1 of 3 are wrong or failed, first 2: off by 3") as caught:
        require_right(rows, lambda row: str(row["n"]))
    assert caught.value.rows == rows


def test_a_case_that_fails_is_a_row_like_the_others():
    assert attempt({"a": 1}, lambda: {"b": 2}) == {"a": 1, "b": 2}

    def run_out():
        raise RuntimeError("out\n  of memory")

    expected = {"a": 1, "status": "failed", "reason": "RuntimeError: out of memory"}
    assert attempt({"a": 1}, run_out) == expected


CHILD = """
import json, os, subprocess, sys, time
_, _, name, settings, file = sys.argv
print("not a result")
if name == "crash": os.abort()
if name == "hang":
    grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    open(json.loads(settings)["folder"], "w").write(str(grandchild.pid))
    time.sleep(60)
part = {"name": name, "status": "ran", "rows": [json.loads(settings)]}
json.dump(part, open(file, "w"))
"""


def test_a_part_that_crashes_or_hangs_takes_nothing_with_it(tmp_path, capfd):
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    good = run_in_child("good", Settings(quick=True), script)
    assert (good.status, good.rows[0]["quick"]) == ("ran", True)
    crashed = run_in_child("crash", Settings(), script)
    assert (crashed.status, crashed.reason) == (
        "failed",
        "its process ended with exit code -6 and no result",
    )
    pid_file = tmp_path / "pid"
    hung = run_in_child("hang", Settings(folder=str(pid_file)), script, patience=2)
    assert hung.reason == "gave no answer for 2 s"
    assert ends(int(pid_file.read_text()))
    assert capfd.readouterr().out == ""


def ends(pid, patience=10):
    """Whether a process is gone, or a zombie that nobody has asked after, within some seconds."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.05)
    return False
