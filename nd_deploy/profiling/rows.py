"""From the samples of a batch's contestants to the rows of the result."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nd_deploy.errors import ParityError
from nd_deploy.parity.measure import worst_error
from nd_deploy.profiling.contestant import Contestant
from nd_deploy.profiling.environment.record import Sample
from nd_deploy.profiling.figures import COMPUTE, LATENCY, Measured, Ratio
from nd_deploy.profiling.plan import baseline_of
from nd_deploy.profiling.remarks import headline_metric, remarks_on_row
from nd_deploy.profiling.results import Row
from nd_deploy.profiling.statistics import ratio_of, summarise

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nd_deploy.profiling.rounds import Timed

Turns = Sequence[Sequence["NDArray[np.float64]"]]


def check_outputs(contestant: Contestant, outputs: Mapping[str, NDArray[Any]]) -> None:
    """Refuse a model whose outputs are not numbers, since what computes NaN computes nothing.

    Raises:
        ParityError: an output holds NaN or infinity.
    """
    for name, output in outputs.items():
        wrong = int(np.sum(~np.isfinite(output))) if output.dtype.kind in "fV" else 0
        if wrong:
            raise ParityError(
                f"{contestant}: {wrong} of {output.size} values of output '{name}' are NaN or "
                "infinite",
                "do not time it, and do not deploy it; in float16 values over 65504 overflow: "
                "'nd-deploy verify' compares the model with PyTorch",
            )


def rows_of(
    contestants: Sequence[Contestant],
    timed: Sequence[Timed],
    truths: Sequence[Sequence[NDArray[Any]] | None],
    samples: Sequence[Sample],
) -> list[Row]:
    """The rows of the contestants of one batch, which were timed in turns with each other.

    Args:
        contestants: in order; the first model is the baseline's.
        timed: what was measured of each.
        truths: PyTorch's float64 outputs for each, or None.
        samples: of the device's state after each turn.
    """
    metrics = [_metrics(each) for each in timed]
    rows = []
    for place, contestant in enumerate(contestants):
        baseline = baseline_of(contestant, contestants)
        over = metrics[contestants.index(baseline)]
        row = Row(
            contestant=contestant,
            metrics=metrics[place],
            throughput=contestant.batch / metrics[place][LATENCY].summary.mean,
            ratio=_ratio(metrics[place], over, contestant, baseline, LATENCY),
            compute_ratio=_ratio(metrics[place], over, contestant, baseline, COMPUTE),
            error=_error(timed[place].outputs, truths[place]),
            receipt=dataclasses.asdict(timed[place].receipt),
            memory=dict(timed[place].memory),
            setup=dict(timed[place].setup),
        )
        own = [sample for sample in samples if sample.row == str(contestant)]
        turns = [turn for turns in timed[place].samples[headline_metric(row)] for turn in turns]
        rows.append(dataclasses.replace(row, remarks=remarks_on_row(row, turns, own)))
    return rows


def _metrics(timed: Timed) -> dict[str, Measured]:
    return {name: _measured(openings) for name, openings in timed.samples.items()}


def _measured(openings: Turns) -> Measured:
    return Measured(
        summarise(np.concatenate([turn for turns in openings for turn in turns])),
        tuple(tuple(float(np.median(turn)) for turn in turns) for turns in openings if turns),
    )


def _ratio(
    own: Mapping[str, Measured],
    over: Mapping[str, Measured],
    contestant: Contestant,
    baseline: Contestant,
    metric: str,
) -> Ratio | None:
    if contestant == baseline or metric not in own or metric not in over:
        return None
    return ratio_of(own[metric].rounds, over[metric].rounds, str(baseline), metric)


def _error(
    outputs: Mapping[str, NDArray[Any]], truth: Sequence[NDArray[Any]] | None
) -> float | None:
    return None if truth is None else worst_error(list(outputs.values()), truth)
