"""What every row ran with, as its runtime said after the fact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nd_deploy.bundle import strict_json
from nd_deploy.page.markup import details, facts, section
from nd_deploy.report.page.names import Named


def receipts_section(rows: Sequence[Named], level: int, prefix: str) -> str:
    """The receipts, each once with the rows that it is of; "" where no row has any."""
    groups: dict[str, list[Named]] = {}
    for named in rows:
        if named.row.receipt:
            groups.setdefault(strict_json.dumps(named.row.receipt), []).append(named)
    if not groups:
        return ""
    return section(
        "Receipts",
        *(_receipt(group) for group in groups.values()),
        level=level,
        name=f"{prefix}receipts",
    )


def _receipt(group: Sequence[Named]) -> str:
    receipt = group[0].row.receipt
    numbers = ", ".join(str(named.number) for named in group)
    runtime = " ".join(str(receipt[name]) for name in ("runtime", "version") if name in receipt)
    return details(
        f"Row{'' if len(group) == 1 else 's'} {numbers}: {runtime}", facts(_lines(receipt))
    )


def _lines(receipt: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        (name.replace("_", " "), _in_words(value))
        for name, value in receipt.items()
        if value not in (None, {}, [], ())
    ]


def _in_words(value: object) -> str:
    """A field of a receipt as text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} = {_in_words(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_in_words, value))
    return str(value)
