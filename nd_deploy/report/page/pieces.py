"""The pieces that the sections of a measurement's page are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nd_deploy.page import markup
from nd_deploy.page.picture import Picture


def chart(picture: Picture, caption: str, numbers: str) -> str:
    """A chart with its caption, and its numbers for those who ask for them or do not see it."""
    more = markup.details("The numbers", numbers)
    return markup.figure(picture, caption, wide=False, more=more, kind="chart")


def table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table as of `markup.table`, whose rows become blocks on a telephone."""
    return markup.table(caption, columns, rows, cards=True)
