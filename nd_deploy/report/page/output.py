"""The file that a page is written to, whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from nd_deploy.bundle.atomic import write_whole
from nd_deploy.bundle.manifest import MANIFEST
from nd_deploy.errors import InputError
from nd_deploy.page.document import GENERATOR

SUFFIX = ".html"
_MARK = f'<meta name="generator" content="{GENERATOR}">'.encode()
# The mark stands in the first lines of a page.
_BEGINNING = 500


def check_page_output(path: Path, overwrite: bool, bundle: Path) -> None:
    """Make sure, before any work, that a page may be written to `path`.

    Args:
        path: a new file in a folder that exists.
        overwrite: whether to replace a page of nd-deploy that is there.
        bundle: the folder that the page is of, into which nothing is written.

    Raises:
        InputError: it may not.
    """
    if path.suffix.lower() != SUFFIX:
        raise InputError(f"{path} is no name of a page", f"end it in {SUFFIX}")
    folder = path.resolve().parent
    if not folder.is_dir():
        raise InputError(f"there is no folder {path.parent} to write {path.name} to", "make it")
    if (bundle / MANIFEST).is_file() and folder.is_relative_to(bundle.resolve()):
        raise InputError(
            f"{path} lies in the bundle, which holds its own files alone", "choose another folder"
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(
            f"the folder {path.parent} may not be written to",
            "choose a folder that you may write to, or change its permissions",
        )
    if path.exists():
        _check_replaced(path, overwrite)


def _check_replaced(path: Path, overwrite: bool) -> None:
    if not path.is_file():
        raise InputError(f"{path} is no file", "choose another name for the page")
    if not overwrite:
        raise InputError(
            f"{path} exists already", "choose another file, or pass --overwrite to replace it"
        )
    if not _is_page(path):
        raise InputError(
            f"{path} is no page that nd-deploy wrote",
            "choose another file; only such a page is ever overwritten",
        )


def _is_page(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            beginning = file.read(_BEGINNING)
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror}", "choose another file"
        ) from error
    return not beginning or _MARK in beginning


def write_page(path: Path, page: str) -> None:
    """Write a page; one that is there already stays until the new one is complete.

    Args:
        path: as `check_page_output` lets it pass.
        page: HTML.

    Raises:
        InputError: it cannot be written: a full disk, a missing permission.
    """
    write_whole(path, page)
