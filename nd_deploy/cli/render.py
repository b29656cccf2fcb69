"""Tables and progress: drawn by rich on a terminal, plain aligned text anywhere else."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence

import click

_STYLES = {"PASS": "green", "FAIL": "bold red", "yes": "green", "no": "yellow"}


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table.

    Args:
        columns: the headings, none of which are printed if all are empty; one that starts with
            ">" is of a column aligned to the right.
        rows: the cells.
    """
    if not sys.stdout.isatty():
        click.echo(plain_table(columns, rows))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=any(columns))
    for place, column in enumerate(columns):
        right = column.startswith(">")
        drawn.add_column(
            Text(column.removeprefix(">")),
            justify="right" if right else "left",
            # Names and numbers stay whole; the words between them give way.
            no_wrap=right or place == 0,
            overflow="fold",
        )
    for row in rows:
        # Text, because rich reads brackets in plain strings as its markup.
        drawn.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
    Console().print(drawn)


def plain_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as lines of text; see `table`."""
    heading = [column.removeprefix(">") for column in columns]
    lines = [*([heading] if any(heading) else []), *map(list, rows)]
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    rights = [column.startswith(">") for column in columns]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, rights, strict=True)
        ).rstrip()
        for line in lines
    )


@contextlib.contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """Show what is being done, on stderr: a spinner on a terminal, a line a step elsewhere."""
    if not sys.stderr.isatty():
        yield lambda step: click.echo(step, err=True)
        return
    from rich.console import Console
    from rich.markup import escape

    with Console(stderr=True).status("starting") as status:
        yield lambda step: status.update(escape(step))


def shortened(names: Sequence[str], width: int = 60) -> str:
    """As many of the names as fit, and how many more there are."""
    shown: list[str] = []
    for name in names:
        if shown and len(", ".join([*shown, name])) > width:
            return f"{', '.join(shown)} and {len(names) - len(shown)} more"
        shown.append(name)
    return ", ".join(shown)


def number(value: float) -> str:
    """A number to two digits, for reading; documents hold all of them."""
    return f"{value:.2g}"
