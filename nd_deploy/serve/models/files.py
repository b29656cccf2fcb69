"""What a bundle's files may be, before any of them is read."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path

from nd_deploy.bundle.files import readable_size
from nd_deploy.bundle.manifest import DISTRUST, REMADE
from nd_deploy.bundle.reading import REFERENCE
from nd_deploy.errors import BundleError

# A manifest of a thousand labels has 50 kB, a reference of 16 images at 3x512x512 100 MB.
_LARGEST_JSON = 64 * 2**20
_LARGEST_REFERENCE = 2**30


def check_files(folder: Path) -> None:
    """Refuse links, special files, and files whose reading would fill the memory.

    Args:
        folder: of a bundle. Whether it is one is for `nd_deploy.bundle.read_bundle` to say.

    Raises:
        BundleError: there is something to refuse.
        OSError: the folder cannot be read.
    """
    for file in sorted(folder.iterdir()):
        status = file.lstat()
        # A folder inside is never looked into: no file of a bundle is named by a path.
        if stat.S_ISDIR(status.st_mode):
            continue
        if not stat.S_ISREG(status.st_mode):
            raise BundleError(f"{file} is a link or no file, and may lead elsewhere", DISTRUST)
        if file.suffix == ".json":
            _check_size(file, status.st_size, _LARGEST_JSON)
    reference = folder / REFERENCE
    if reference.is_file():
        _check_size(reference, _unpacked(reference), _LARGEST_REFERENCE)


def _unpacked(archive: Path) -> int:
    try:
        with zipfile.ZipFile(archive) as opened:
            return sum(entry.file_size for entry in opened.infolist())
    except zipfile.BadZipFile as error:
        raise BundleError(f"{archive} cannot be read: {error}", REMADE) from error


def _check_size(file: Path, size: int, largest: int) -> None:
    if size > largest:
        raise BundleError(
            f"{file} holds {readable_size(size)}, more than the {readable_size(largest)} that a "
            "server reads of it",
            DISTRUST,
        )
