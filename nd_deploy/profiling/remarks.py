"""What makes a figure doubtful: each with its threshold, and what to do next.

The thresholds of noise and of launches are those of NVIDIA's trtexec (samples/common,
sampleReporting.cpp); that of outliers is Iglewicz and Hoaglin's, see `statistics.outlier_share`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from nd_deploy.profiling.environment.record import Environment, Sample
from nd_deploy.profiling.environment.state import NotSampled
from nd_deploy.profiling.figures import COMPUTE, DOWNLOAD, ENQUEUE, LATENCY, UPLOAD, Remark
from nd_deploy.profiling.results import Row
from nd_deploy.profiling.statistics import outlier_share

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NOISY = "noisy"
LAUNCH_BOUND = "launch-bound"
THROTTLED = "throttled"
TRANSFERS = "transfers"
FEW = "too few iterations"
OUTLIERS = "outliers"
WIDE = "wide interval"
OTHER_LOAD = "other load"
NOT_SAMPLED = "not sampled"
NOT_COUNTED = "not counted"
INTERRUPTED = "interrupted"

_CV = 0.025
_ENQUEUE_SHARE = 0.8
_ITERATIONS = 100
_MODIFIED_Z = 3.5
_OUTLIER_SHARE = 0.01
_INTERVAL_WIDTH = 0.1
_BUSY = 0.05
_UTILISATION = 5.0

_STEADY_GPU = (
    "lock the clocks (nvidia-smi -lgc, as root; jetson_clocks on a Jetson) or let the GPU cool, "
    "and measure again"
)
_STEADY_CPU = (
    "end what else runs, set the clock's governor to performance, or fix --threads to fewer "
    "than there are processors"
)


def remarks_on_row(
    row: Row, turns: Sequence[NDArray[np.float64]], samples: Sequence[Sample] = ()
) -> tuple[Remark, ...]:
    """What there is to doubt about one row.

    Args:
        row: what was measured.
        turns: the seconds of its headline metric, of each turn: compute where there is one, else
            latency.
        samples: of the device's state, after the row's turns.

    Returns:
        In a fixed order; most often none.
    """
    checks: tuple[Callable[[], Remark | None], ...] = (
        lambda: _few(row),
        lambda: _noisy(row),
        lambda: _outliers(row, turns),
        lambda: _wide(row),
        lambda: _launch_bound(row),
        lambda: _transfers(row),
        lambda: _throttled(samples),
    )
    return tuple(remark for check in checks if (remark := check()) is not None)


def remarks_on_machine(
    environment: Environment, unsampled: Iterable[NotSampled] = ()
) -> tuple[Remark, ...]:
    """What there is to doubt about all of it.

    Args:
        environment: before the run.
        unsampled: what of the device stays unknown during the run.
    """
    found = []
    cpu, gpu = environment.cpu, environment.gpu
    if cpu.busy is not None and cpu.busy > _BUSY:
        found.append(
            Remark(
                OTHER_LOAD,
                f"other processes took {cpu.busy:.0%} of the processors' time just before the run, "
                f"over {_BUSY:.0%}",
                "end them, or trust the ratios more than the times",
            )
        )
    if gpu is not None and gpu.other_processes:
        found.append(
            Remark(
                OTHER_LOAD,
                f"{gpu.other_processes} other processes compute on {gpu.name}",
                "end them ('nvidia-smi' lists them), or trust the ratios more than the times",
            )
        )
    elif gpu is not None and gpu.utilisation is not None and gpu.utilisation > _UTILISATION:
        found.append(
            Remark(
                OTHER_LOAD,
                f"{gpu.name} was busy for {gpu.utilisation:.0f} % of the time just before the run, "
                f"over {_UTILISATION:.0f} %",
                "'nvidia-smi' lists what uses it",
            )
        )
    found += [Remark(NOT_SAMPLED, each.problem, each.remedy) for each in unsampled]
    return tuple(found)


def headline_metric(row: Row) -> str:
    """The metric that says most about the model: compute on a GPU, latency elsewhere."""
    return COMPUTE if COMPUTE in row.metrics else LATENCY


def _noisy(row: Row) -> Remark | None:
    metric = headline_metric(row)
    cv = row.metrics[metric].summary.cv
    if cv <= _CV:
        return None
    return Remark(
        NOISY,
        f"{metric} varies by {cv:.1%} (coefficient of variation), over {_CV:.1%}",
        _STEADY_GPU if row.contestant.on_gpu else _STEADY_CPU,
    )


def _outliers(row: Row, turns: Sequence[NDArray[np.float64]]) -> Remark | None:
    share = outlier_share(turns, _MODIFIED_Z)
    if share <= _OUTLIER_SHARE:
        return None
    return Remark(
        OUTLIERS,
        f"{share:.1%} of the iterations are outliers (modified Z-score over {_MODIFIED_Z}, "
        f"Iglewicz and Hoaglin 1993), over {_OUTLIER_SHARE:.0%}",
        "go by the median and not by the mean; something else may use the machine now and then",
    )


def _few(row: Row) -> Remark | None:
    n = row.latency.n
    if n >= _ITERATIONS:
        return None
    return Remark(
        FEW,
        f"{n} iterations, under {_ITERATIONS}: the high percentiles say little",
        "give a longer --seconds, or more --rounds",
    )


def _wide(row: Row) -> Remark | None:
    ratio = row.ratio
    if ratio is None or ratio.high / ratio.low - 1 <= _INTERVAL_WIDTH:
        return None
    return Remark(
        WIDE,
        f"the ratio is known to within {ratio.high / ratio.low - 1:.0%}, over "
        f"{_INTERVAL_WIDTH:.0%}",
        "give more --openings and --rounds on a quieter machine",
    )


def _launch_bound(row: Row) -> Remark | None:
    if ENQUEUE not in row.metrics or COMPUTE not in row.metrics or row.contestant.cuda_graph:
        return None
    enqueue, compute = (row.metrics[name].summary.p50 for name in (ENQUEUE, COMPUTE))
    if enqueue <= _ENQUEUE_SHARE * compute:
        return None
    return Remark(
        LAUNCH_BOUND,
        f"the host takes {enqueue / compute:.2f} of the GPU's time to launch a run, over "
        f"{_ENQUEUE_SHARE}: the GPU waits for it",
        "replay CUDA graphs (--cuda-graph on), or take a larger batch",
    )


def _transfers(row: Row) -> Remark | None:
    names = (UPLOAD, DOWNLOAD, COMPUTE)
    if not all(name in row.metrics for name in names):
        return None
    upload, download, compute = (row.metrics[name].summary.p50 for name in names)
    if upload + download <= compute:
        return None
    return Remark(
        TRANSFERS,
        f"copies to and from the GPU take {(upload + download) / compute:.1f} times as long as "
        "computing",
        "keep the data on the GPU, preprocess there, or overlap copies with computing",
    )


def _throttled(samples: Sequence[Sample]) -> Remark | None:
    held = [sample for sample in samples if sample.throttle]
    if not held:
        return None
    reasons = sorted({reason for sample in held for reason in sample.throttle})
    return Remark(
        THROTTLED,
        f"the clocks were held down after {len(held)} of {len(samples)} turns: "
        f"{', '.join(reasons)}",
        _STEADY_GPU,
    )
