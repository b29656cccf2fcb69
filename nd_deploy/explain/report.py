"""The folder that an explanation is written to, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from nd_deploy.bundle import strict_json
from nd_deploy.bundle.atomic import new_folder
from nd_deploy.bundle.files import why_not_written
from nd_deploy.bundle.overwrite import why_not_replaced
from nd_deploy.errors import InputError
from nd_deploy.explain.explanation import KIND, Explanation
from nd_deploy.explain.page import page
from nd_deploy.explain.pictures import IMAGE_KERNELS, KERNELS, SPECTRUM, draw

PAGE = "explain.html"
NUMBERS = "explain.json"
_ELSEWHERE = "choose another folder; only a report is ever overwritten"


def check_report(output: Path, overwrite: bool) -> None:
    """Make sure, before any work, that a report may be written to `output`.

    Raises:
        InputError: it exists and is not to be overwritten, or is no report.
    """
    refusal = why_not_replaced(output, overwrite, "report", NUMBERS, _files_of)
    if refusal is not None:
        raise InputError(*refusal)


def write_report(
    output: Path,
    explanation: Explanation,
    overwrite: bool = False,
    report: Callable[[str], None] = lambda line: None,
) -> list[Path]:
    """Draw an explanation and write it into a folder.

    Args:
        output: the folder to make.
        explanation: the numbers.
        overwrite: replace a report that is there.
        report: called with a line of text as each step begins.

    Returns:
        The files, the page first.

    Raises:
        InputError: `output` may not be written, or cannot: a full disk, a missing permission.
        MissingDependencyError: matplotlib is not installed.
    """
    check_report(output, overwrite)
    report("drawing")
    pictures = draw(explanation)
    contents = {
        PAGE: page(explanation, pictures).encode(),
        NUMBERS: strict_json.dumps(explanation.as_dict()).encode(),
        **{name: picture.light for name, picture in pictures.items()},
    }
    report(f"writing {output}")
    try:
        with new_folder(output) as folder:
            for name, content in contents.items():
                (folder / name).write_bytes(content)
    except OSError as error:
        reason, remedy = why_not_written(error, sum(map(len, contents.values())))
        raise InputError(f"{output} cannot be written: {reason}", remedy) from error
    return [output / name for name in contents]


def _files_of(folder: Path) -> tuple[str, ...]:
    try:
        kind = strict_json.read(folder / NUMBERS).get("kind")
    except (OSError, ValueError) as error:
        raise InputError(f"{folder / NUMBERS} cannot be read: {error}", _ELSEWHERE) from error
    if kind != KIND:
        raise InputError(f"{folder} is no report: its {NUMBERS} is something else's", _ELSEWHERE)
    return PAGE, SPECTRUM, KERNELS, IMAGE_KERNELS
