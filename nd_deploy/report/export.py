"""A measurement in a file of the format that its name asks for, written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nd_deploy.bundle.atomic import write_whole
from nd_deploy.errors import InputError
from nd_deploy.profiling.results import KIND, Profile
from nd_deploy.report.csv_file import HEADING, to_csv
from nd_deploy.report.json_file import read_profile, to_json
from nd_deploy.report.markdown import to_markdown

_MARK = f"<!-- {KIND} -->\n"
_ELSEWHERE = "choose another file; only an exported measurement is ever overwritten"


@dataclass(frozen=True)
class _Format:
    """One format.

    Attributes:
        write: gives the text of the file.
        wrote: (path) to whether such a file is one that `write_profile` wrote.
    """

    write: Callable[[Profile], str]
    wrote: Callable[[Path], bool]


def check_export(path: Path, overwrite: bool = False) -> None:
    """Make sure, before any work, that a measurement may be written to `path`.

    Args:
        path: a new file in a folder that exists, whose name ends in one of SUFFIXES.
        overwrite: whether to replace a measurement that is there in the same format; any other
            file stays.

    Raises:
        InputError: it may not.
        MissingDependencyError: what the format takes is not installed.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"there is no format for {path}: its name ends in {path.suffix or 'no suffix'}",
            f"end it in one of {', '.join(SUFFIXES)}",
        )
    if not path.parent.is_dir():
        raise InputError(
            f"there is no folder {path.parent} to write {path.name} to",
            "make it first, or choose another folder",
        )
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise InputError(
            f"the folder {path.parent} may not be written to",
            "choose a folder that you may write to, or change its permissions",
        )
    if path.exists():
        _check_replaced(path, overwrite)
    if path.suffix.lower() == ".html":
        _require_charts()


def write_profile(profile: Profile, path: Path, overwrite: bool = False) -> None:
    """Write a measurement in the format that the name of a file asks for.

    A file that is at `path` already stays there until the new one is complete.

    Args:
        profile: the measurement.
        path: see `check_export`; JSON alone holds the whole of it.
        overwrite: see `check_export`.

    Raises:
        InputError: `path` may not be written, or cannot: a full disk, a missing permission.
        MissingDependencyError: see `check_export`.
    """
    check_export(path, overwrite)
    write_whole(path, _FORMATS[path.suffix.lower()].write(profile))


def _check_replaced(path: Path, overwrite: bool) -> None:
    if not path.is_file():
        raise InputError(f"{path} is no file", "choose another name for the file to write")
    if not overwrite:
        raise InputError(
            f"{path} exists already", "choose another file, or pass --overwrite to replace it"
        )
    if path.stat().st_size and not _FORMATS[path.suffix.lower()].wrote(path):
        raise InputError(f"{path} is no measurement that nd-deploy exported", _ELSEWHERE)


def _require_charts() -> None:
    from nd_deploy.page.canvas import require_drawing
    from nd_deploy.report.page.whole import EXTRA

    require_drawing(EXTRA)


def _is_measurement(path: Path) -> bool:
    try:
        read_profile(path)
    except InputError:
        return False
    return True


def _holds(beginning: str) -> Callable[[Path], bool]:
    """Whether a file begins in a way that nothing else does."""

    def holds(path: Path) -> bool:
        try:
            with path.open("rb") as file:
                return file.read(len(beginning)) == beginning.encode()
        except OSError:
            return False

    return holds


def _marked_markdown(profile: Profile) -> str:
    return _MARK + to_markdown(profile)


def _marked_page(profile: Profile) -> str:
    from nd_deploy.report.page import profile_page

    return _MARK + profile_page(profile, None)


_FORMATS = {
    ".json": _Format(to_json, _is_measurement),
    ".csv": _Format(to_csv, _holds(HEADING)),
    ".md": _Format(_marked_markdown, _holds(_MARK)),
    ".html": _Format(_marked_page, _holds(_MARK)),
}

SUFFIXES = tuple(_FORMATS)
"""What the name of an exported file may end in."""
