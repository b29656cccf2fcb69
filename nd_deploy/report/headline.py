"""What a measurement was made for, in a sentence a comparison."""

from __future__ import annotations

from nd_deploy.profiling.contestant import Contestant
from nd_deploy.profiling.figures import Ratio
from nd_deploy.profiling.results import Profile, Row
from nd_deploy.report.numbers import interval

_OWN_THREADS, _NO_GRAPH, _WARM = "default threads", "no CUDA graph", "warm L2"
_USUAL = frozenset(("", _OWN_THREADS, _NO_GRAPH, _WARM))


def headline(profile: Profile) -> list[str]:
    """Say of every row that has a baseline how long it takes beside it.

    Args:
        profile: the measurement.

    Returns:
        Sentences such as "batch 1, ort-cpu: folded takes 0.71 [0.70, 0.72] times as long as
        naive", in the order of the rows; where the interval holds 1, that no difference was seen.
    """
    rows = {str(row.contestant): row.contestant for row in profile.rows}
    return [
        _sentence(row, row.ratio, rows[row.ratio.over])
        for row in profile.rows
        if row.ratio is not None and rows.get(row.ratio.over, row.contestant) != row.contestant
    ]


def no_difference(ratio: Ratio) -> bool:
    """Whether the interval of a ratio holds 1."""
    return ratio.low <= 1 <= ratio.high


def _sentence(row: Row, ratio: Ratio, baseline: Contestant) -> str:
    shared, mine, other = _told_apart(row.contestant, baseline)
    figure = interval(ratio.estimate, ratio.low, ratio.high)
    if no_difference(ratio):
        said = f"no difference seen between {mine} and {other}: {figure}"
    else:
        said = f"{mine} takes {figure} times as long as {other}"
    compute = row.compute_ratio
    if compute is not None:
        said += f"; compute alone {interval(compute.estimate, compute.low, compute.high)}"
    return f"{shared}: {said}"


def _told_apart(one: Contestant, other: Contestant) -> tuple[str, str, str]:
    """What two contestants share, and what each of them is called beside the other."""
    pairs = list(zip(_parts(one), _parts(other), strict=True))
    shared = [mine for mine, others in pairs if mine == others and mine not in _USUAL]
    apart = [pair for pair in pairs if pair[0] != pair[1] and not _USUAL.issuperset(pair)]
    mine, others = (", ".join(filter(None, names)) for names in zip(*apart, strict=True))
    return ", ".join(shared), mine, others


def _parts(contestant: Contestant) -> tuple[str, ...]:
    """What a contestant is, part by part; a part that means nothing to its runtime is empty."""
    threads, on_gpu = contestant.threads, contestant.on_gpu
    counted = f"{threads} thread{'' if threads == 1 else 's'}"
    return (
        f"batch {contestant.batch}",
        contestant.model,
        contestant.runtime,
        counted if threads is not None else "" if on_gpu else _OWN_THREADS,
        "CUDA graph" if contestant.cuda_graph else _NO_GRAPH if on_gpu else "",
        "cold L2" if contestant.cold_l2 else _WARM if on_gpu else "",
    )
