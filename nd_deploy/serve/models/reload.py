"""Notices that a bundle has changed, and has the repository serve what is there now.

Replace a bundle as 'nd-deploy convert --overwrite' does, by renaming. A bundle that is copied into
place is half-written for a while: it is refused meanwhile, and loaded once it is whole. Weights in
a file of their own may be mapped into memory by the session that serves them, so that overwriting
that file in place changes what is served.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from nd_deploy.bundle.files import sha256
from nd_deploy.bundle.manifest import MANIFEST
from nd_deploy.serve.models.repository import ModelRepository

# (modification time in ns, size in bytes, inode) by file.
Listing: TypeAlias = Mapping[str, tuple[int, int, int]]

# Waits until an event is set, or so many seconds; None for as long as it takes.
Wait: TypeAlias = Callable[[asyncio.Event, float | None], Awaitable[None]]


@dataclass
class _Seen:
    """What was last found at the path of a model.

    Attributes:
        current: the manifest's entry of the listing, when it was found to be what is served.
        refused: the files, when what they held was refused.
        last: the files at the last look.
    """

    current: tuple[int, int, int] | None = None
    refused: Listing | None = None
    last: Listing | None = None


async def until_set_or(event: asyncio.Event, seconds: float | None) -> None:
    """The clock's own `Wait`."""
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)


class Watch:
    """Looks at the bundles of a repository time and again.

    Args:
        repository: that has been started.
        interval: seconds between two looks; 0 for none but those that are asked for.
        wait: lets the time pass.
    """

    def __init__(
        self, repository: ModelRepository, interval: float, wait: Wait = until_set_or
    ) -> None:
        self._repository = repository
        self._interval = interval
        self._wait = wait
        self._asked = asyncio.Event()
        self._seen = {name: _Seen() for name in repository.sources}

    def look_now(self) -> None:
        """Look at once, and try again what has been refused: what SIGHUP asks for."""
        self._asked.set()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self._wait(self._asked, self._interval or None)
            asked = self._asked.is_set()
            self._asked.clear()
            for name in self._seen:
                await self._look(name, asked)

    async def _look(self, name: str, asked: bool) -> None:
        path = self._repository.sources[name].path
        seen = self._seen[name]
        files = await asyncio.to_thread(list_files, path)
        moved, seen.last = files != seen.last, files
        if not asked and not _is_news(seen, files, moved):
            return
        if await asyncio.to_thread(_digest, path) == self._repository.digest(name):
            self._repository.forget_failure(name)
            seen.current, seen.refused = files.get(MANIFEST), None
        elif await self._repository.reload(name):
            seen.current, seen.refused = files.get(MANIFEST), None
        else:
            seen.refused = files


def _is_news(seen: _Seen, files: Listing, moved: bool) -> bool:
    """Whether there may be something to load: something changed, and is no longer changing."""
    if seen.refused is not None:
        return files != seen.refused and not moved
    if MANIFEST not in files:
        # Between the two renames of an exchange it is not there for a moment.
        return not moved
    return files[MANIFEST] != seen.current


def list_files(folder: Path) -> Listing:
    """The files of a folder; none if it is not there or cannot be looked into."""
    try:
        statuses = {file.name: file.stat() for file in folder.iterdir()}
    except OSError:
        return {}
    return {name: (s.st_mtime_ns, s.st_size, s.st_ino) for name, s in statuses.items()}


def _digest(folder: Path) -> str | None:
    try:
        return sha256(folder / MANIFEST)
    except OSError:
        return None
