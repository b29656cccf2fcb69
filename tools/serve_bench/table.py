"""The results as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from nd_deploy.report.markdown import markdown_table
from serve_bench.figures import PERCENTILES, Footprint, Goal, Row
from serve_bench.results import Results

_GOALS = ("figure", ">at most", ">measured", "")
_COSTS = (
    "model", "served by", "requests", ">at a time", ">CPU, ms", ">over bare", ">per s",
    *(f">p{q}, ms" for q in PERCENTILES),
)  # fmt: skip
_MEMORY = ("model", "served by", ">RSS, MB", ">PSS, MB", ">session RSS, MB", ">session PSS, MB")
_METHOD = (
    "CPU is user and system time of all of a server's processes, an input, in the turn with the "
    'least; "over bare" is the median over the turns, and their range, of its ratio over bare ONNX '
    "Runtime with batch 1, which had a turn before and after each. The client's CPU is not in it."
)


def page(results: Results) -> str:
    """All that was measured, as the text of a Markdown file."""
    goals = [goal_line(goal) for goal in results.goals]
    blocks = [
        f"`{results.command}`",
        f"{results.created}. {results.machine}. {results.method}",
        markdown_table(_GOALS, goals) if goals else "",
        _METHOD,
        markdown_table(_COSTS, [cost_line(row) for row in results.rows]),
        markdown_table(_MEMORY, [memory_line(each) for each in results.footprints]),
        _starts(results.starts),
    ]
    return "\n\n".join(filter(None, blocks)) + "\n"


def goal_line(goal: Goal) -> tuple[str, ...]:
    """A figure that has to be reached, and whether it is."""
    unit = f" {goal.unit}" if goal.unit else ""
    verdict = "reached" if goal.is_reached else "missed"
    return (goal.what, f"{goal.limit:g}{unit}", f"{goal.found:.3g}{unit}", verdict)


def cost_line(row: Row) -> tuple[str, ...]:
    """What a contestant took."""
    who = row.contestant
    return (
        who.model,
        who.server,
        who.form,
        str(who.concurrency),
        f"{row.cpu_ms:.3g}",
        f"{row.ratio:.3f} [{row.ratio_least:.3f}, {row.ratio_greatest:.3f}]",
        f"{row.per_second:.0f}",
        *(f"{value:.3g}" for value in row.latency_ms),
    )


def memory_line(found: Footprint) -> tuple[str, ...]:
    """The memory of a server beside that of a session."""
    values = (found.rss, found.pss, found.bare_rss, found.bare_pss)
    return (found.model, found.server, *(f"{value:.0f}" for value in values))


def _starts(starts: Sequence[float]) -> str:
    if not starts:
        return ""
    return f"The demo was ready after {', '.join(f'{each:.2f}' for each in sorted(starts))} s."
