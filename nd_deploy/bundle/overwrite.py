"""Whether a bundle may be written to a folder: nothing but a bundle is ever removed."""

from __future__ import annotations

import contextlib
from pathlib import Path

from nd_deploy.bundle.manifest import MANIFEST, read_manifest
from nd_deploy.errors import BundleError


def check_output(output: Path, overwrite: bool) -> None:
    """Make sure, before any work, that a bundle may be written to `output`.

    Raises:
        BundleError: it exists and is not to be overwritten, or is no bundle.
    """
    target = output.resolve()
    if not target.exists():
        return
    if not overwrite:
        raise BundleError(
            f"{output} exists already", "choose another folder, or pass --overwrite to replace it"
        )
    elsewhere = "choose another folder; only a bundle is ever overwritten"
    if not target.is_dir():
        raise BundleError(f"{output} is a file", elsewhere)
    if any(place.is_relative_to(target) for place in _never_removed()):
        raise BundleError(f"{output} holds the current or the home folder", elsewhere)
    entries = {entry.name for entry in target.iterdir()}
    if not entries:
        return
    if MANIFEST not in entries:
        raise BundleError(f"{output} is no bundle: it has no {MANIFEST}", elsewhere)
    foreign = sorted(entries - {MANIFEST, *read_manifest(target).files})
    if foreign:
        raise BundleError(
            f"{output} holds files that are not the bundle's: {', '.join(foreign[:3])}",
            "move them away first, or choose another folder",
        )


def _never_removed() -> list[Path]:
    places = [Path.cwd()]
    # A container's arbitrary user may have no home.
    with contextlib.suppress(RuntimeError):
        places.append(Path.home().resolve())
    return places
