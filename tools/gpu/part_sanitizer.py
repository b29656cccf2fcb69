"""The kernels, and what drives them in TensorRT, under compute-sanitizer.

The kernels are checked in a process whose GPU runs nothing else, and which takes every tensor's
memory from the driver, so that an access beside it is seen.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from gpu.checkout import ROOT
from gpu.children import child_command
from gpu.device import HEADERS_VARIABLE, library_file, require_cuda
from gpu.part_tests import PYTEST, run_pytest
from gpu.parts import FAILED, NOT_RUN, OK, WRONG, CannotRun, Part, Row, Settings, require_right

SMALL_ERRORS = "errors-small"
SCRIPT = ROOT / "tools/gpu_suite.py"
TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")
# What compute-sanitizer ends with if it found anything.
FOUND = 86
_ENQUEUE = ("tests/plugins/test_plugin_compute.py",)
_SHOWN = 12
_TRIAL = "import torch; torch.zeros(1).cuda(); torch.cuda.synchronize()"


def run(settings: Settings) -> list[Row]:
    """One row a tool for the kernels, and one for the tests that enqueue plugins."""
    require_cuda()
    library_file(settings)
    sanitizer = shutil.which("compute-sanitizer")
    if sanitizer is None:
        raise CannotRun("compute-sanitizer is not on PATH: it is part of the CUDA toolkit")
    require_working(sanitizer)
    os.environ["PYTORCH_NO_CUDA_MEMORY_CACHING"] = "1"
    rows = []
    for tool in TOOLS[:1] if settings.quick else TOOLS:
        prefix = command(sanitizer, tool)
        rows += [check_kernels(tool, prefix, settings), check_enqueue(tool, prefix, settings)]
    require_right(rows, lambda row: str(row["what"]))
    return rows


def command(sanitizer: str, tool: str) -> list[str]:
    """What runs a program under one of the tools."""
    return [
        *(sanitizer, "--tool", tool, "--error-exitcode", str(FOUND)),
        *("--target-processes", "application-only"),
    ]


def require_working(sanitizer: str) -> None:
    """Do nothing if compute-sanitizer works on this GPU.

    Raises:
        CannotRun: it finds fault with a program that does nothing.
    """
    trial = [*command(sanitizer, TOOLS[0]), sys.executable, "-c", _TRIAL]
    done = subprocess.run(trial, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        said = "; ".join(findings(done.stdout + done.stderr)[:3]) or f"exit code {done.returncode}"
        raise CannotRun(f"compute-sanitizer does not work here: {said}")


def check_kernels(tool: str, prefix: Sequence[str], settings: Settings) -> Row:
    """Run the small cases of the part 'errors' under a tool."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "part.json"
        inner = child_command(SMALL_ERRORS, settings, SCRIPT, file)
        done = subprocess.run(
            [*prefix, *inner], capture_output=True, text=True, errors="replace", check=False
        )
        text = done.stdout + done.stderr
        sys.stderr.write(text[-8000:])
        part = Part(**json.loads(file.read_text())) if file.exists() else None
    return kernel_row(tool, done.returncode, text, part)


def kernel_row(tool: str, exit_code: int, text: str, part: Part | None) -> Row:
    """What a tool, and the comparison that ran under it, came to.

    Args:
        tool: its name.
        exit_code: of the whole.
        text: what was printed.
        part: the comparison; None if the process came to no end.
    """
    found = findings(text) if exit_code else []
    rows = [] if part is None else part.rows
    reason = ""
    if part is None:
        reason = f"no result, exit code {exit_code}"
    elif exit_code:
        reason = f"compute-sanitizer ends with {exit_code}"
    elif part.reason:
        reason = part.reason
    return {
        "what": f"kernels under {tool}",
        "passed": sum(row["status"] == OK for row in rows),
        "failed": [f"{r['op']} {r['case']} {r['dtype']}" for r in rows if r["status"] != OK],
        "skipped": {},
        "sanitizer": found[:_SHOWN],
        "status": FAILED if part is None else (WRONG if reason else OK),
        "reason": "; ".join([reason, *found[:2]]) if reason else "",
    }


def check_enqueue(tool: str, prefix: Sequence[str], settings: Settings) -> Row:
    """Run the tests of the plugins' enqueue under a tool."""
    title = f"enqueue under {tool}"
    missing = why_no_enqueue(settings, os.environ)
    if missing:
        return {"what": title, "status": NOT_RUN, "reason": missing}
    headers = settings.headers or os.environ[HEADERS_VARIABLE]
    row, text = run_pytest(title, prefix, _ENQUEUE, replace(settings, headers=headers))
    found = findings(text) if row["status"] != OK else []
    return {**row, "sanitizer": found[:_SHOWN]}


def why_no_enqueue(settings: Settings, environment: Mapping[str, str]) -> str:
    """Why the tests of enqueue cannot run; "" if they can."""
    import importlib.util

    if importlib.util.find_spec("pytest") is None:
        return f"pytest is not installed: {PYTEST}"
    if not settings.headers and not environment.get(HEADERS_VARIABLE):
        return f"TensorRT's headers are not named: give --headers, or set {HEADERS_VARIABLE}"
    return "" if settings.library else "the plugin library was not built: see the part 'plugin'"


def findings(text: str) -> list[str]:
    """What compute-sanitizer says, without its frame."""
    lines = (line.removeprefix("=========").strip() for line in text.splitlines())
    kept = [line for line, raw in zip(lines, text.splitlines(), strict=True) if raw[:4] == "===="]
    return [line for line in kept if line and line != "COMPUTE-SANITIZER"]
