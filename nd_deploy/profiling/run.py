"""The whole of a measurement: gather the models, time them in turns, and say what that means."""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from nd_deploy.profiling.environment.look import look_around
from nd_deploy.profiling.environment.sampling import Sampler, start_sampling
from nd_deploy.profiling.explained import Explainer
from nd_deploy.profiling.figures import Remark
from nd_deploy.profiling.gather import gather
from nd_deploy.profiling.plan import Wanted, check_method, check_wanted, jobs_of
from nd_deploy.profiling.processes import in_child, why_apart
from nd_deploy.profiling.remarks import INTERRUPTED, remarks_on_machine
from nd_deploy.profiling.results import Method, Profile, Row
from nd_deploy.profiling.rounds import measure_in_turns
from nd_deploy.profiling.rows import check_outputs, rows_of
from nd_deploy.profiling.subjects.opening import open_subject
from nd_deploy.runtime.options import ORT_CPU, RunOptions

if TYPE_CHECKING:
    from torch import nn

    from nd_deploy.profiling.entries import Entry
    from nd_deploy.profiling.subjects.base import Job

Report = Callable[[str], None]

_INTERRUPTED = Remark(
    INTERRUPTED,
    "Ctrl-C ended the measurement early: what is here rests on the rounds that were finished",
    "measure again, with fewer --rounds or --openings, or without what you do not need",
)


def profile(
    bundles: Path | str | Sequence[Path | str],
    *,
    runtimes: Sequence[str] = (ORT_CPU,),
    batches: Sequence[int] = (1,),
    threads: Sequence[int | None] = (None,),
    against: Sequence[Path | str] = (),
    network: nn.Module | None = None,
    checkpoint: Path | str | None = None,
    cuda_graph: Sequence[bool] = (False,),
    cold_l2: Sequence[bool] = (False,),
    options: RunOptions | None = None,
    method: Method | None = None,
    layers: bool = False,
    peaks: bool = True,
    command: str | None = None,
    report: Report = lambda line: None,
) -> Profile:
    """Measure how long bundles take to run, in turns, so that the figures can be compared.

    Every model is opened several times, its outputs are looked at, it is warmed up, and then all
    models of one batch are timed in rounds in which each has a turn. Ctrl-C ends the measurement
    and keeps the rounds that are finished.

    Args:
        bundles: the folder of one, or of several.
        runtimes: what runs them: of `nd_deploy.runtime.options.RUNTIMES`, and "torch" and
            "torch-cuda" for the network as it was trained, in PyTorch's eager mode.
        batches: how many inputs a run takes; the bundle's reference inputs are repeated to it.
        threads: of one operator, on the processor; None lets the runtime choose.
        against: what to compare the bundles with, the baseline first: "naive" for
            torch.onnx.export of the trained network, or ONNX files of the same inputs.
        network: the trained network of a single bundle, for "torch" and "naive"; without it, it is
            built again as the bundle's manifest says.
        checkpoint: where its weights are, if not where they were at conversion.
        cuda_graph: whether to replay CUDA graphs on a GPU: False, True or both.
        cold_l2: whether to empty the GPU's second-level cache before each run: False, True or both.
        options: how to run the models; of several runtimes, each takes what means something to it,
            and a runtime's own options are called "RUNTIME:NAME".
        method: how often and for how long.
        layers: take the times of single layers too, in runs of their own.
        peaks: measure the machine's peaks, and say what share of them each row reaches.
        command: the command line, for the record.
        report: called with a line of text as each step begins.

    Returns:
        The measurement. `nd_deploy.report.export.write_profile` writes it.

    Raises:
        InputError: there is no such runtime, a model does not take a batch, or a file is missing.
        BundleError: a folder is no bundle, or not as it was written.
        ExportError: torch.onnx.export refuses the network.
        ParityError: a model gives NaN.
        BackendError: a runtime is not there, or would run something else than asked.
        MissingDependencyError: a runtime is not installed.
        KeyboardInterrupt: Ctrl-C came before a round was finished.
    """
    wanted = Wanted(
        tuple(runtimes), tuple(batches), tuple(threads), tuple(cuda_graph), tuple(cold_l2),
        RunOptions() if options is None else options,
    )  # fmt: skip
    check_wanted(wanted)
    paths = [bundles] if isinstance(bundles, Path | str) else list(bundles)
    weights = None if checkpoint is None else Path(checkpoint)
    method = Method() if method is None else method
    check_method(method)
    with tempfile.TemporaryDirectory(prefix="nd-deploy-") as folder:
        entries = gather(paths, against, runtimes, Path(folder), network, weights, report)
        groups = [jobs_of(entries, wanted, batch) for batch in wanted.batches]
        jobs = [job for group in groups for job in group]
        apart = why_apart(jobs)
        if apart is not None:
            report(f"every contestant gets a process of its own: {apart}")
        report("looking at the machine")
        device = _gpu_of(jobs)
        environment = look_around(device=device)
        with contextlib.closing(start_sampling(device)) as sampler:
            session = _Session(entries, method, apart is not None, sampler, report)
            rows = session.rows(groups)
        interrupted = session.interrupted
        if not interrupted:
            explainer = Explainer(entries, apart is not None, device, report)
            explain = functools.partial(explainer.explain, layers=layers, peaks=peaks)
            interrupted = _in_place(rows, jobs, explain)
        remarks = remarks_on_machine(environment, sampler.problems)
        return Profile(
            tuple(rows),
            tuple(entry.record for entry in entries),
            replace(method, processes="one" if apart is None else "each"),
            replace(environment, samples=sampler.samples),
            datetime.now(timezone.utc).isoformat(timespec="seconds"),
            command,
            interrupted,
            (*remarks, _INTERRUPTED) if interrupted else remarks,
        )


class _Session:
    """A measurement under way.

    Args:
        entries: the models.
        method: how often and for how long.
        apart: whether every contestant gets a process of its own.
        sampler: of the device's state.
        report: called with a line of text as each step begins.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        method: Method,
        apart: bool,
        sampler: Sampler,
        report: Report,
    ) -> None:
        self._entries = {entry.name: entry for entry in entries}
        self._method = method
        self._apart = apart
        self._sampler = sampler
        self._report = report
        self.interrupted = False

    def rows(self, groups: Sequence[Sequence[Job]]) -> list[Row]:
        """Time each group in turns with itself, one group after another."""
        rows: list[Row] = []
        for jobs in groups:
            try:
                rows += self._group(jobs)
            except KeyboardInterrupt:
                if not rows:
                    raise
                self.interrupted = True
            if self.interrupted:
                break
        return rows

    def _group(self, jobs: Sequence[Job]) -> list[Row]:
        contestants = [job.contestant for job in jobs]
        batch = contestants[0].batch
        measured = measure_in_turns(
            [functools.partial(in_child if self._apart else open_subject, job) for job in jobs],
            self._method,
            check=lambda index, outputs: check_outputs(contestants[index], outputs),
            observe=lambda index: self._sampler(str(contestants[index])),
            report=lambda line: self._report(f"batch {batch}: {line}"),
        )
        self.interrupted = measured.interrupted
        truths = [self._entries[each.model].truth(batch) for each in contestants]
        return rows_of(contestants, measured.timed, truths, self._sampler.samples)


def _in_place(rows: list[Row], jobs: Sequence[Job], change: Callable[[Row, Job], Row]) -> bool:
    """Change rows one by one; whether Ctrl-C left some as they were."""
    try:
        for place, job in enumerate(jobs):
            rows[place] = change(rows[place], job)
    except KeyboardInterrupt:
        return True
    return False


def _gpu_of(jobs: Iterable[Job]) -> int | None:
    """CUDA's number of the GPU that the jobs compute on, or None."""
    on_gpu = [job for job in jobs if job.contestant.on_gpu]
    return int(on_gpu[0].options.options.get("device_id", "0")) if on_gpu else None
