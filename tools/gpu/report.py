"""What is written down: results as JSON and as a page, after every part.

A run that is stopped has lost nothing but its last part, and several runs, each of some parts, add
up to one report.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gpu.page import Report, page
from gpu.parts import FAILED, NOT_RUN, Part, Row, Settings
from gpu.verdicts import judge

SCHEMA = 2
RESULTS = "results.json"
# The part that says what there is, and measures nothing.
DEVICE = "device"
# What figures must have been measured with to be of one report.
_SAME = ("versions", "nvcc", "sources")
_SAME_GPU = ("name", "driver_version")


class Journal:
    """The report of a run, written down as it goes.

    Args:
        folder: for the results as JSON, where those of earlier runs are looked for.
        page_file: for the page.
        command: which this run is.
        machine: of `gpu.device.facts`.
        order: the names of all parts.

    Attributes:
        run: the parts of this run.
    """

    def __init__(
        self, folder: Path, page_file: Path, command: str, machine: Row, order: Sequence[str]
    ) -> None:
        self._folder, self._page_file = folder, page_file
        self._command, self._machine, self._order = command, machine, order
        self._parts = {part.name: part for part in earlier(folder / RESULTS, machine)}
        self.run: list[Part] = []

    @property
    def parts(self) -> list[Part]:
        """The parts of this run, and of earlier ones that it did not run again."""
        return sorted(self._parts.values(), key=lambda part: self._order.index(part.name))

    def add(self, part: Part, quick: bool = False) -> None:
        """Note a part of this run, and write everything if anything was measured.

        Args:
            part: what became of it.
            quick: whether it was run with fewer shapes.
        """
        today = time.strftime("%Y-%m-%d")
        part = replace(part, command=self._command, date=today, quick=quick)
        self.run.append(part)
        # What cannot be run now is no reason to forget what was found out before.
        if part.status != NOT_RUN or part.name not in self._parts:
            self._parts[part.name] = part
        if measured(self.run):
            self._write()

    def _write(self) -> None:
        report = make(self.parts, self._command, self._machine)
        text = json.dumps(report, indent=2, allow_nan=False)
        replace_file(self._folder / RESULTS, f"{text}\n")
        replace_file(self._page_file, page(report))


def make(parts: Sequence[Part], command: str, machine: Row) -> Report:
    """Everything that is written down, as JSON-ready fields."""
    report: Report = finite(
        {
            "schema": SCHEMA,
            "date": time.strftime("%Y-%m-%d"),
            "command": command,
            "machine": machine,
            "verdicts": [verdict.as_dict() for verdict in judge(parts)],
            "parts": [part.as_dict() for part in parts],
        }
    )
    return report


def earlier(results: Path, machine: Row) -> list[Part]:
    """The parts that earlier runs wrote down, if all else was the same.

    Args:
        results: the file.
        machine: what it is now.
    """
    try:
        report = json.loads(results.read_text(encoding="utf-8"))
        same = report["schema"] == SCHEMA and _identity(report["machine"]) == _identity(machine)
        return [Part(**fields) for fields in report["parts"]] if same else []
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _identity(machine: Row) -> Row:
    gpu = machine.get("gpu") or {}
    return {key: machine.get(key) for key in _SAME} | {key: gpu.get(key) for key in _SAME_GPU}


def with_libraries(settings: Settings, parts: Sequence[Part]) -> Settings:
    """Settings that know the libraries which parts have built, unless one was given."""
    paths = {
        row["what"]: row["path"]
        for part in parts
        for row in part.rows
        if "path" in row and Path(row["path"]).is_file()
    }
    return replace(
        settings,
        library=settings.library or paths.get("library"),
        self_registering=settings.self_registering or paths.get("self-registering"),
        launchers=settings.launchers or paths.get("launchers"),
    )


def measured(parts: Sequence[Part]) -> bool:
    """Whether any part got to work, so that there is something to write down."""
    return any(part.status != NOT_RUN for part in parts if part.name != DEVICE)


def exit_code(parts: Sequence[Part]) -> int:
    """1 if a part failed, 3 if one could not be run, 0 if all ran and found nothing wrong."""
    states = {part.status for part in parts}
    if FAILED in states:
        return 1
    return 3 if NOT_RUN in states else 0


def finite(value: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
    """The value with text for the numbers that JSON does not have."""
    if isinstance(value, dict):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def replace_file(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.new")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)
