"""What the rows of a measurement are called on its page: a number and a short name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from nd_deploy.profiling.results import Profile, Row


@dataclass(frozen=True)
class Named:
    """A row under the name that the whole page calls it by.

    Attributes:
        number: from 1 on, in the order of the page.
        name: the contestant's, without what all rows have in common.
        row: what was measured.
    """

    number: int
    name: str
    row: Row

    @property
    def label(self) -> str:
        """Number and name, such as "3 · naive, torch, batch 1"."""
        return f"{self.number} · {self.name}"


def named_rows(profile: Profile) -> list[Named]:
    """The rows of a measurement with their names, those of a batch together."""
    ordered = sorted(profile.rows, key=lambda row: row.contestant.batch)
    same_threads = len({row.contestant.threads for row in ordered}) == 1
    return [
        Named(
            number,
            str(replace(row.contestant, threads=None) if same_threads else row.contestant),
            row,
        )
        for number, row in enumerate(ordered, start=1)
    ]


def in_common(profile: Profile) -> str:
    """What every row has and none is called by, such as "1 thread"; "" for nothing."""
    threads = {row.contestant.threads for row in profile.rows}
    (count,) = threads if len(threads) == 1 else (None,)
    return "" if count is None else f"{count} thread{'' if count == 1 else 's'}"


def names_by_contestant(rows: Sequence[Named]) -> dict[str, str]:
    """From a contestant's full name, which ratios are over, to its name on the page."""
    return {str(named.row.contestant): named.name for named in rows}
