"""Whether a folder may be written: nothing but a folder of the same kind is ever removed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path

from nd_deploy.bundle.manifest import MANIFEST, read_manifest
from nd_deploy.errors import BundleError


def check_output(output: Path, overwrite: bool) -> None:
    """Make sure, before any work, that a bundle may be written to `output`.

    Raises:
        BundleError: it exists and is not to be overwritten, or is no bundle.
    """
    refusal = why_not_replaced(
        output, overwrite, "bundle", MANIFEST, lambda folder: read_manifest(folder).files
    )
    if refusal is not None:
        raise BundleError(*refusal)


def why_not_replaced(
    output: Path,
    overwrite: bool,
    kind: str,
    mark: str,
    files: Callable[[Path], Iterable[str]],
) -> tuple[str, str] | None:
    """Say why a folder of some kind may not be written to `output`, and what to do about it.

    Args:
        output: a folder of that kind, an empty one or a place where nothing is may be written.
        overwrite: whether to replace what is there.
        kind: in one word, such as "bundle".
        mark: the file that every folder of that kind has.
        files: (folder) to the names of the other files that belong to it.

    Returns:
        The problem and its remedy, or None.
    """
    target = output.resolve()
    if not target.exists():
        return None
    if not overwrite:
        return (
            f"{output} exists already",
            "choose another folder, or pass --overwrite to replace it",
        )
    elsewhere = f"choose another folder; only a {kind} is ever overwritten"
    if not target.is_dir():
        return f"{output} is a file", elsewhere
    if any(place.is_relative_to(target) for place in _never_removed()):
        return f"{output} holds the current or the home folder", elsewhere
    entries = {entry.name for entry in target.iterdir()}
    if not entries:
        return None
    if mark not in entries:
        return f"{output} is no {kind}: it has no {mark}", elsewhere
    foreign = sorted(entries - {mark, *files(target)})
    if foreign:
        return (
            f"{output} holds files that are not the {kind}'s: {', '.join(foreign[:3])}",
            "move them away first, or choose another folder",
        )
    return None


def _never_removed() -> list[Path]:
    places = [Path.cwd()]
    # A container's arbitrary user may have no home.
    with contextlib.suppress(RuntimeError):
        places.append(Path.home().resolve())
    return places
