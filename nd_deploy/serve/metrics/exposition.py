"""The accounts of all models as Prometheus reads them.

Where a metric means what one of Triton's does, it has Triton's name and labels (docs/user_guide/
metrics.md), so that dashboards made for Triton work; all others begin with "nd_". Triton's counters
do not end in "_total", which prometheus_client adds to all that it calls counters. So these are
told without a type, which Prometheus does not go by.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from nd_deploy.serve.batching.observer import CANCELLED
from nd_deploy.serve.metrics.tally import Histogram, Tally

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric

_US = 1e6
_MODEL = ("model", "version")


@dataclass(frozen=True)
class Account:
    """What is told of one model.

    Attributes:
        name: of the model.
        version: that is served.
        tally: its counts.
        reloads: times that a changed bundle was served.
        failed_reloads: times that one was not.
        providers: that it runs on.
        ready: whether it is.
    """

    name: str
    version: str
    tally: Tally
    reloads: int
    failed_reloads: int
    providers: tuple[str, ...]
    ready: bool


Accounts: TypeAlias = Callable[[], Iterable[Account]]

# Triton's names, what they mean, and how they are read from an account.
_COUNTERS: Mapping[str, tuple[str, Callable[[Tally], float]]] = {
    "nv_inference_request_success": (
        "Requests that were answered",
        lambda tally: tally.succeeded.count,
    ),
    "nv_inference_count": ("Inferences: a batch of n counts n", lambda tally: tally.rows),
    "nv_inference_exec_count": ("Executions: a batch counts 1", lambda tally: tally.executions),
    "nv_inference_request_duration_us": (
        "Microseconds from the arrival of requests to their answers, in all",
        lambda tally: (tally.succeeded.seconds + tally.failing.seconds) * _US,
    ),
    "nv_inference_queue_duration_us": (
        "Microseconds that requests waited, in all",
        lambda tally: tally.queued.seconds * _US,
    ),
    "nv_inference_compute_input_duration_us": (
        "Microseconds of joining inputs, for each request of a batch",
        lambda tally: tally.joining.seconds * _US,
    ),
    "nv_inference_compute_infer_duration_us": (
        "Microseconds of running the model, for each request of a batch",
        lambda tally: tally.running.seconds * _US,
    ),
    "nv_inference_compute_output_duration_us": (
        "Microseconds of dividing outputs, for each request of a batch",
        lambda tally: tally.splitting.seconds * _US,
    ),
}
# Triton's reasons for a failure, by ours; all others are "OTHER".
_REASONS = {
    CANCELLED: "CANCELED",
    "queue full": "REJECTED",
    "not ready": "REJECTED",
    "deadline passed": "REJECTED",
    "draining": "REJECTED",
    "run failed": "BACKEND",
}


class Collector:
    """Gives Prometheus the accounts as they are when it asks.

    Args:
        accounts: gives them.
        refusals: how many requests were refused, by reason, before they reached a model or there.
    """

    def __init__(self, accounts: Accounts, refusals: Mapping[str, int]) -> None:
        self._accounts = accounts
        self._refusals = refusals

    def collect(self) -> Iterator[Metric]:
        """All metrics; called by prometheus_client."""
        from prometheus_client.core import GaugeMetricFamily, UnknownMetricFamily

        accounts = list(self._accounts())
        for name, (text, read) in _COUNTERS.items():
            family = UnknownMetricFamily(name, text, labels=_MODEL)
            for account in accounts:
                family.add_metric((account.name, account.version), read(account.tally))
            yield family
        yield _failures(accounts)
        pending = GaugeMetricFamily(
            "nv_inference_pending_request_count", "Requests that wait for a run", labels=_MODEL
        )
        for account in accounts:
            pending.add_metric((account.name, account.version), account.tally.pending)
        yield pending
        yield from self._own(accounts)

    def _own(self, accounts: Iterable[Account]) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        yield _histogram(
            "nd_request_duration_seconds",
            "From the arrival of a request to its answer",
            ((account, account.tally.durations) for account in accounts),
        )
        yield _histogram(
            "nd_batch_size",
            "Rows of an execution",
            ((account, account.tally.sizes) for account in accounts),
        )
        refusals = CounterMetricFamily(
            "nd_refused_requests", "Requests that were refused", labels=("reason",)
        )
        for reason, count in self._refusals.items():
            refusals.add_metric((reason,), count)
        yield refusals
        reloads = CounterMetricFamily(
            "nd_model_reloads",
            "Changed bundles, by whether they are served",
            labels=("model", "result"),
        )
        ready = GaugeMetricFamily("nd_model_ready", "1 if the model is ready", labels=_MODEL)
        info = GaugeMetricFamily(
            "nd_model_info", "What the model runs on", labels=(*_MODEL, "providers")
        )
        for account in accounts:
            reloads.add_metric((account.name, "served"), account.reloads)
            reloads.add_metric((account.name, "refused"), account.failed_reloads)
            ready.add_metric((account.name, account.version), float(account.ready))
            info.add_metric((account.name, account.version, ",".join(account.providers)), 1)
        yield from (reloads, ready, info)


def _failures(accounts: Iterable[Account]) -> Metric:
    from prometheus_client.core import UnknownMetricFamily

    family = UnknownMetricFamily(
        "nv_inference_request_failure",
        "Requests that were not answered",
        labels=(*_MODEL, "reason"),
    )
    for account in accounts:
        sums: Counter[str] = Counter()
        for reason, count in account.tally.failed.items():
            sums[_REASONS.get(reason, "OTHER")] += count
        for reason, count in sums.items():
            family.add_metric((account.name, account.version, reason), count)
    return family


def registry_of(collector: Collector) -> CollectorRegistry:
    """A registry with the collector, and with the process's memory, time and descriptors."""
    from prometheus_client import CollectorRegistry, ProcessCollector

    registry = CollectorRegistry()
    registry.register(collector)
    ProcessCollector(registry=registry)
    return registry


def _histogram(name: str, text: str, found: Iterable[tuple[Account, Histogram]]) -> Metric:
    from prometheus_client.core import HistogramMetricFamily

    family = HistogramMetricFamily(name, text, labels=_MODEL)
    for account, histogram in found:
        bounds = [*(f"{bound:g}" for bound in histogram.bounds), "+Inf"]
        sums = itertools.accumulate(histogram.counts)
        buckets = list(zip(bounds, map(float, sums), strict=True))
        family.add_metric((account.name, account.version), buckets, histogram.sum)
    return family
