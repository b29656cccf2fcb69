"""From what a user asks for to what is opened: contestants, baselines, options of each runtime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from nd_deploy.errors import InputError
from nd_deploy.profiling.contestant import ON_GPU, TORCH, TORCH_CUDA, Contestant
from nd_deploy.profiling.entries import BUNDLE, Entry
from nd_deploy.profiling.results import Method
from nd_deploy.profiling.subjects.base import Job
from nd_deploy.runtime.options import ORT_CPU, ORT_CUDA, RUNTIMES, RunOptions, narrowed

MEASURABLE = (TORCH, TORCH_CUDA, *RUNTIMES)
"""Every runtime that a measurement knows."""

_THREADED = (TORCH, ORT_CPU)
# Whose options PyTorch is given: it takes what these do, where it means the same.
_LIKE = {TORCH: ORT_CPU, TORCH_CUDA: ORT_CUDA}


@dataclass(frozen=True)
class Wanted:
    """What is to be measured of every model.

    Attributes:
        runtimes: of MEASURABLE, in order.
        batches: in order.
        threads: of one operator, on the processor; None lets the runtime choose.
        cuda_graph: whether to replay CUDA graphs, on a GPU; False, True or both.
        cold_l2: whether to empty the GPU's cache before each run; False, True or both.
        options: how to run the models; one that is a runtime's own may be called
            "RUNTIME:NAME", and has to be where there are several.
    """

    runtimes: Sequence[str] = (ORT_CPU,)
    batches: Sequence[int] = (1,)
    threads: Sequence[int | None] = (None,)
    cuda_graph: Sequence[bool] = (False,)
    cold_l2: Sequence[bool] = (False,)
    options: RunOptions = field(default_factory=RunOptions)


def check_wanted(wanted: Wanted) -> None:
    """Refuse what makes no sense, before anything is opened.

    Raises:
        InputError: there is something to refuse.
    """
    for runtime in wanted.runtimes:
        if runtime not in MEASURABLE:
            raise InputError(
                f"there is no runtime {runtime!r}", f"choose from {', '.join(MEASURABLE)}"
            )
    if not wanted.runtimes or not wanted.batches:
        raise InputError("there is nothing to measure", "name a runtime and a batch")
    for batch in wanted.batches:
        if batch < 1:
            raise InputError(f"--batch {batch} holds nothing", "give at least 1")
    for count in wanted.threads:
        if count is not None and count < 1:
            raise InputError(f"--threads {count} is none", "give at least 1")
    if any(wanted.threads) and not set(wanted.runtimes) & set(_THREADED):
        raise InputError(
            f"--threads means nothing to {', '.join(wanted.runtimes)}",
            f"drop it, or add {' or '.join(_THREADED)}",
        )
    for flag, values in (("--cuda-graph", wanted.cuda_graph), ("--l2", wanted.cold_l2)):
        if any(values) and not set(wanted.runtimes) & set(ON_GPU):
            raise InputError(
                f"{flag} is for GPUs, and {', '.join(wanted.runtimes)} runs on none",
                f"drop it, or add one of {', '.join(ON_GPU)}",
            )
    for runtime in wanted.runtimes:
        options_for(wanted, Contestant("", runtime, 1))


def check_method(method: Method) -> None:
    """Refuse a method that measures nothing.

    Raises:
        InputError: a number is too small.
    """
    least = {
        "--openings": (method.openings, 1),
        "--rounds": (method.rounds, 1),
        "--seconds": (method.turn_seconds, 0),
        "--warmup": (method.warmup_seconds, 0),
        "turn_iterations": (method.turn_iterations, 1),
        "warmup_iterations": (method.warmup_iterations, 0),
    }
    for name, (value, bound) in least.items():
        if value < bound:
            raise InputError(f"{name} is {value:g}", f"give at least {bound}")


def jobs_of(entries: Sequence[Entry], wanted: Wanted, batch: int) -> list[Job]:
    """Everything to measure at one batch.

    Args:
        entries: the baseline's model first.
        wanted: already checked.
        batch: one of its batches.

    Raises:
        InputError: a model does not take the batch, or no runtime runs it.
    """
    jobs = []
    for entry in entries:
        contestants = _contestants(entry, wanted, batch)
        if not contestants:
            raise InputError(
                f"{entry.name} is an ONNX model, and {', '.join(wanted.runtimes)} runs none",
                f"add a --runtime that does: {', '.join(RUNTIMES)}",
            )
        feeds = entry.feeds(batch)
        for contestant in contestants:
            by_torch = contestant.runtime in _LIKE
            jobs.append(
                Job(
                    contestant,
                    None if by_torch else entry.file(contestant.runtime),
                    entry.network if by_torch else None,
                    options_for(wanted, contestant),
                    feeds,
                )
            )
    return jobs


def baseline_of(contestant: Contestant, contestants: Sequence[Contestant]) -> Contestant:
    """What a contestant's time is divided by.

    Args:
        contestant: one of them.
        contestants: of one batch, in order; the first model is the baseline's.

    Returns:
        For another model than the first, the first one run in the same way; if there is none, and
        for the first model itself, the first of all.
    """
    same_way = replace(contestant, model=contestants[0].model)
    return same_way if contestant != same_way and same_way in contestants else contestants[0]


def options_for(wanted: Wanted, contestant: Contestant) -> RunOptions:
    """How a contestant's runtime is to run its model.

    Raises:
        InputError: an option means nothing to any of the runtimes, or it is not said to which.
    """
    runtime = contestant.runtime
    alike = [_LIKE.get(name, name) for name in wanted.runtimes]
    options = narrowed(wanted.options, _LIKE.get(runtime, runtime), alike)
    own = _own_options(wanted, runtime)
    if contestant.threads is not None:
        if "threads" in own:
            raise InputError("threads are given twice", "give --threads, or --option threads=")
        own["threads"] = str(contestant.threads)
    return replace(options, options=own, cuda_graph=contestant.cuda_graph)


def _own_options(wanted: Wanted, runtime: str) -> dict[str, str]:
    own = {}
    for text, value in wanted.options.options.items():
        whose, colon, name = text.rpartition(":")
        if colon and whose not in wanted.runtimes:
            raise InputError(
                f"--option {text}={value} is for {whose}, which is not measured",
                f"write RUNTIME:NAME=VALUE, for one of {', '.join(wanted.runtimes)}",
            )
        if not colon and len(wanted.runtimes) > 1:
            raise InputError(
                f"--option {text}={value} does not say which runtime it is for",
                f"write it as --option {runtime}:{text}={value}",
            )
        if whose in ("", runtime):
            own[name] = value
    return own


def _contestants(entry: Entry, wanted: Wanted, batch: int) -> list[Contestant]:
    found = []
    for runtime in wanted.runtimes:
        if runtime in _LIKE and entry.record.kind != BUNDLE:
            continue
        on_gpu = runtime in ON_GPU
        threads = wanted.threads if runtime in _THREADED else (None,)
        for count in threads:
            for graph in wanted.cuda_graph if on_gpu else (False,):
                for cold in wanted.cold_l2 if on_gpu else (False,):
                    found.append(Contestant(entry.name, runtime, batch, count, graph, cold))
    return found
