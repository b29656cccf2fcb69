"""The tests that need a GPU."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

from gpu.checkout import ROOT
from gpu.device import HEADERS_VARIABLE, require_cuda
from gpu.parts import OK, WRONG, CannotRun, Row, Settings, require_right

PYTEST = "pip install 'nd-deploy[test]'"
_MARK = "mark.gpu"
_MISSING = re.compile(r"ModuleNotFoundError: (No module named '[\w.]+')")


def run(settings: Settings) -> list[Row]:
    """Every test with the mark gpu, of the folders that have any."""
    require_pytest()
    row, _ = run_pytest("tests that need a GPU", [], folders_of_gpu_tests(), settings)
    require_right([row], lambda row: str(row["what"]))
    return [row]


def require_pytest() -> None:
    """Do nothing if there is pytest, and a GPU for it.

    Raises:
        CannotRun: there is not.
    """
    require_cuda()
    if importlib.util.find_spec("pytest") is None:
        raise CannotRun(f"pytest is not installed: {PYTEST}")


def folders_of_gpu_tests(root: Path = ROOT) -> list[str]:
    """Where a file, be it of fixtures, has the mark: the other folders need not be imported."""
    marked = (path for path in (root / "tests").rglob("*.py") if _MARK in path.read_text())
    return sorted({str(path.parent.relative_to(root)) for path in marked})


def run_pytest(
    title: str, prefix: Sequence[str], paths: Sequence[str], settings: Settings
) -> tuple[Row, str]:
    """Run pytest and count what became of the tests.

    Args:
        title: what the row is called.
        prefix: a program that runs pytest.
        paths: of the tests.
        settings: of the suite.

    Returns:
        The row, and all that was printed.
    """
    folder = Path(settings.folder)
    folder.mkdir(parents=True, exist_ok=True)
    report = (folder / f"{title.replace(' ', '-')}.xml").absolute()
    report.unlink(missing_ok=True)
    options = ["-q", "-m", "gpu", "-p", "no:cacheprovider", "--continue-on-collection-errors"]
    command = [
        *(*prefix, sys.executable, "-m", "pytest"),
        *(*options, f"--junit-xml={report}", *paths),
    ]
    environment = dict(os.environ)
    if settings.headers:
        environment[HEADERS_VARIABLE] = settings.headers
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, errors="replace"
    )
    text = f"{done.stdout}\n{done.stderr}"
    sys.stderr.write(text[-8000:])
    found = counts(report.read_text()) if report.exists() else counts("<testsuites/>")
    reason = why_wrong(done.returncode, found)
    return {"what": title, **found, "status": WRONG if reason else OK, "reason": reason}, text


def counts(xml: str) -> Row:
    """What a report of pytest says: how many passed, which failed, why others were skipped.

    A file that could not be imported because a package is not installed counts as skipped.
    """
    passed, failed = 0, []
    skipped: dict[str, int] = {}
    for case in ET.fromstring(xml).iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        error, skip = case.find("error"), case.find("skipped")
        missing = None if error is None else _MISSING.search(error.text or "")
        reason = skip.get("message", "") if skip is not None else (missing and missing[1])
        if reason is not None:
            skipped[reason] = skipped.get(reason, 0) + 1
        elif error is not None or case.find("failure") is not None:
            failed.append(name)
        else:
            passed += 1
    return {"passed": passed, "failed": failed, "skipped": skipped}


def why_wrong(exit_code: int, found: Row) -> str:
    """What is wrong with a run of pytest; "" if nothing is."""
    if found["failed"]:
        return f"{len(found['failed'])} failed: {', '.join(found['failed'][:3])}"
    if not found["passed"]:
        return f"no test ran, exit code {exit_code}"
    uncollected = any(reason.startswith("No module named") for reason in found["skipped"])
    if exit_code and not (exit_code == 1 and uncollected):
        return f"exit code {exit_code}"
    return ""
