"""What there is to warn of, with what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from nd_deploy.page.markup import details, section
from nd_deploy.profiling.figures import Remark
from nd_deploy.profiling.remarks import INTERRUPTED
from nd_deploy.profiling.results import Profile
from nd_deploy.report.page.names import Named

_ENDED = Remark(
    INTERRUPTED,
    "the measurement was ended early: the rows hold the rounds that all of them finished",
    "measure again and let it end; fewer rounds make wider intervals",
)
# Of a problem that many rows share, a few say enough.
_SHOWN = 2


def warnings_section(profile: Profile, rows: Sequence[Named], level: int, prefix: str) -> str:
    """The remarks of a measurement and of its rows; "" for none."""
    found = [("", remark) for remark in profile.remarks]
    found += [(named.label, remark) for named in rows for remark in named.row.remarks]
    # Who measures says so too, and better; a file need not hold what was said.
    if profile.interrupted and all(remark.kind != INTERRUPTED for remark in profile.remarks):
        found.insert(0, ("", _ENDED))
    if not found:
        return ""
    items = "\n".join(map(_item, _by_remedy(found)))
    return section(
        "Warnings",
        f'<ul class="warnings">\n{items}\n</ul>',
        level=level,
        name=f"{prefix}warnings",
    )


def _by_remedy(found: Iterable[tuple[str, Remark]]) -> list[list[tuple[str, Remark]]]:
    """Remarks that the same step puts right stand together."""
    groups: dict[tuple[str, str], list[tuple[str, Remark]]] = {}
    for whose, remark in found:
        groups.setdefault((remark.kind, remark.remedy), []).append((whose, remark))
    return list(groups.values())


def _item(group: Sequence[tuple[str, Remark]]) -> str:
    """The first problems of a group, the others for those who ask, and what to do about all."""
    problems = [_problem(whose, remark) for whose, remark in group]
    rest = problems[_SHOWN:]
    more = details(f"{len(rest)} more like it", *rest) if rest else ""
    remedy = f'<p class="remedy">→ {escape(group[0][1].remedy)}</p>'
    return "\n".join(["<li>", *problems[:_SHOWN], *filter(None, [more]), remedy, "</li>"])


def _problem(whose: str, remark: Remark) -> str:
    name = f"<strong>{escape(whose)}</strong>: " if whose else ""
    return f"<p>{name}{escape(remark.problem)}</p>"
