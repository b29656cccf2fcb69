"""Folders and files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from nd_deploy.bundle.files import why_not_written
from nd_deploy.errors import InputError


@contextlib.contextmanager
def new_folder(output: Path) -> Iterator[Path]:
    """Make a folder to fill, which becomes `output` when the block ends well.

    A folder that is at `output` already stays there until the new one is complete. If the block
    raises, by Ctrl-C too, `output` and the folders above it are left as they were.

    Args:
        output: where the folder is to be; the folders above it are made as needed.

    Yields:
        An empty folder on the same file system.
    """
    output = output.resolve()
    made: list[Path] = []
    staging: Path | None = None
    try:
        _make_parents(output.parent, made)
        staging = Path(tempfile.mkdtemp(prefix=".nd-deploy-", dir=output.parent))
        # A folder inside, because mkdtemp's own is closed to everybody else.
        folder = staging / "new"
        folder.mkdir()
        yield folder
        _swap(folder, output, staging / "old")
        made.clear()
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)
        with contextlib.suppress(OSError):
            for parent in reversed(made):
                parent.rmdir()


def _make_parents(folder: Path, made: list[Path]) -> None:
    missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    for parent in reversed(missing):
        parent.mkdir()
        made.append(parent)


def _swap(new: Path, output: Path, old: Path) -> None:
    try:
        if output.exists():
            output.rename(old)
        new.rename(output)
    except BaseException:
        if old.exists() and not output.exists():
            old.rename(output)
        raise


def write_whole(path: Path, text: str) -> None:
    """Write a file; one that is there already stays until the new one is complete.

    Args:
        path: of the file; where it is a link, what it leads to is replaced.
        text: what it is to hold. What is no Unicode, as a name of the user's may be, is escaped.

    Raises:
        InputError: it cannot be written: a full disk, a missing permission.
    """
    target = path.resolve()
    content = text.encode(errors="backslashreplace")
    try:
        # In a folder, because a temporary file itself would be closed to everybody else.
        with tempfile.TemporaryDirectory(prefix=".nd-deploy-", dir=target.parent) as folder:
            new = Path(folder) / target.name
            new.write_bytes(content)
            new.replace(target)
    except OSError as error:
        reason, remedy = why_not_written(error, len(content))
        raise InputError(f"{path} cannot be written: {reason}", remedy) from error
