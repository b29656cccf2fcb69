"""What makes a row's time clear: the times of its layers, and its share of what the machine can do.

Both are taken after all rounds, so that they disturb none.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from nd_deploy.profiling.figures import LayerTime, Remark
from nd_deploy.profiling.layers import layer_times
from nd_deploy.profiling.processes import layers_in_child, peaks_in_child
from nd_deploy.profiling.remarks import NOT_COUNTED, headline_metric
from nd_deploy.profiling.results import Row
from nd_deploy.profiling.subjects.opening import open_subject
from nd_deploy.profiling.work.count import work_of
from nd_deploy.profiling.work.peaks import Peaks, measure_peaks, what_peaks_depend_on
from nd_deploy.profiling.work.timed_layers import with_work
from nd_deploy.profiling.work.usage import usage_of

if TYPE_CHECKING:
    from nd_deploy.profiling.entries import Entry
    from nd_deploy.profiling.subjects.base import Job
    from nd_deploy.profiling.work.record import NetworkWork

_RUNS = 20


class Explainer:
    """Explains the rows of one measurement.

    Args:
        entries: its models.
        apart: whether every contestant gets a process of its own.
        device: CUDA's number of the GPU, if one took part.
        report: called with a line of text as each step begins.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        apart: bool,
        device: int | None,
        report: Callable[[str], None],
    ) -> None:
        self._entries = {entry.name: entry for entry in entries}
        self._apart = apart
        self._device = device or 0
        self._report = report
        self._peaks: dict[Hashable, Peaks] = {}
        self._layers: dict[Hashable, tuple[LayerTime, ...]] = {}

    def explain(self, row: Row, job: Job, layers: bool, peaks: bool) -> Row:
        """The row with its usage, and with the times of its layers if they are asked for.

        Raises:
            NdDeployError: as of opening and running what is measured for it.
        """
        work = self._work(job)
        found = self._peaks_for(job, work.dtype) if peaks else None
        seconds = row.metrics[headline_metric(row)].summary.p50
        row = replace(row, usage=usage_of(work, found, seconds), remarks=_remarks(row, work))
        return replace(row, layers=with_work(self._layers_of(job), work)) if layers else row

    def _work(self, job: Job) -> NetworkWork:
        """Of the row's own ONNX model; of PyTorch's network, what its bundle has to compute."""
        entry = self._entries[job.contestant.model]
        model = entry.file(job.contestant.runtime) if job.model is None else job.model
        return work_of(model, {name: array.shape for name, array in job.feeds.items()})

    def _peaks_for(self, job: Job, dtype: str) -> Peaks:
        key = what_peaks_depend_on(job, dtype)
        if key not in self._peaks:
            self._report(f"measuring what {job.contestant.runtime} can do at most")
            self._peaks[key] = (
                peaks_in_child(job, dtype, self._device)
                if self._apart
                else measure_peaks(job, dtype, open_subject, device=self._device)
            )
        return self._peaks[key]

    def _layers_of(self, job: Job) -> tuple[LayerTime, ...]:
        # Layers are timed one by one, whatever would be launched as a whole.
        alike = replace(job.contestant, cuda_graph=False, cold_l2=False)
        if alike not in self._layers:
            self._report(f"timing the layers of {alike}")
            nd_layers = self._entries[alike.model].nd_layers
            self._layers[alike] = (layers_in_child if self._apart else layer_times)(
                job, _RUNS, nd_layers
            )
        return self._layers[alike]


def _remarks(row: Row, work: NetworkWork) -> tuple[Remark, ...]:
    if not work.unknown:
        return row.remarks
    more = f" and {len(work.unknown) - 1} more" if len(work.unknown) > 1 else ""
    return (
        *row.remarks,
        Remark(
            NOT_COUNTED,
            f"what '{work.unknown[0]}'{more} computes cannot be told from the model",
            "take the row's operations and bytes for too few",
        ),
    )
