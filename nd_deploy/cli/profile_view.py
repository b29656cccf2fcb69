"""What `nd-deploy profile` shows on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

import click

from nd_deploy.cli.render import table
from nd_deploy.profiling.comparison import Comparison
from nd_deploy.profiling.figures import Remark
from nd_deploy.profiling.results import Profile


def show_profile(profile: Profile) -> None:
    """Print the comparisons, the table, and on stderr what there is to doubt."""
    from nd_deploy.report.headline import headline
    from nd_deploy.report.table import table_of

    sentences = headline(profile)
    for sentence in sentences:
        click.echo(sentence)
    if sentences:
        click.echo()
    table(*table_of(profile))
    _show_remarks(profile)


def show_comparison(comparison: Comparison) -> None:
    """Print what has changed, and on stderr what there is to doubt."""
    from nd_deploy.report.comparison_table import comparison_table

    table(*comparison_table(comparison))
    for name in comparison.only_old:
        click.echo(f"only in the old one: {name}")
    for name in comparison.only_new:
        click.echo(f"only in the new one: {name}")
    for remark in comparison.remarks:
        _warn(remark.problem, remark.remedy)


def _show_remarks(profile: Profile) -> None:
    """Each kind once, with the row where it is said first and how many more there are."""
    for remark in profile.remarks:
        _warn(remark.problem, remark.remedy)
    kinds: dict[str, list[tuple[str, Remark]]] = {}
    for row in profile.rows:
        for remark in row.remarks:
            kinds.setdefault(remark.kind, []).append((str(row.contestant), remark))
    for found in kinds.values():
        name, remark = found[0]
        _warn(f"{name}: {remark.problem}{_more(found)}", remark.remedy)


def _more(found: Sequence[object]) -> str:
    more = len(found) - 1
    return f"; {more} more row{'s' if more > 1 else ''} like it" if more else ""


def _warn(problem: str, remedy: str) -> None:
    click.echo(f"warning: {problem}", err=True)
    click.echo(f"  {remedy}", err=True)
