"""What the operator asks to be served."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from nd_deploy.errors import InputError
from nd_deploy.runtime.options import ORT_CPU, RunOptions

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
# /v2/models/stats is about all models.
_TAKEN = "stats"


@dataclass(frozen=True)
class Source:
    """A bundle, under which name it is served, and how it is run.

    Attributes:
        name: of the model.
        path: the bundle's folder.
        runtime: one of `nd_deploy.runtime.options.ORT_RUNTIMES`.
        options: how to run it; what they do not name, such as a plugin library, is not loaded.
        labels: the operator's names of the classes; None for the bundle's own.
    """

    name: str
    path: Path
    runtime: str = ORT_CPU
    options: RunOptions = field(default_factory=RunOptions)
    labels: tuple[str, ...] | None = None


def check_names(sources: Iterable[Source]) -> None:
    """Refuse names that do not fit into a URL, and two bundles of one name.

    Raises:
        InputError: there is something to refuse.
    """
    known: dict[str, Source] = {}
    for source in sources:
        if not _NAME.fullmatch(source.name) or source.name == _TAKEN:
            raise InputError(
                f"{source.path} cannot be served as {source.name!r}",
                "give it a name of letters, digits, '_', '-' and '.', with NAME=BUNDLE; "
                f"{_TAKEN!r} is taken",
            )
        first = known.setdefault(source.name, source)
        if first is not source:
            raise InputError(
                f"{first.path} and {source.path} would both be served as {source.name!r}",
                "give one of them another name, with NAME=BUNDLE",
            )
