"""The outcomes as Markdown: the tables of docs/performance.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from matrix.outcome import FOLDED, NAIVE, TWIN, TWIN_BUNDLE, FileCost, Outcome
from nd_deploy.profiling.contestant import TORCH, TORCH_CUDA
from nd_deploy.profiling.environment.record import Environment
from nd_deploy.profiling.results import Method, Profile, Row
from nd_deploy.report.markdown import markdown_table

_LATENCY = (
    "network", "runtime", ">batch", ">BN twin, ms", ">ND folded / twin", ">ND as it is / twin"
)  # fmt: skip
_FILES = ("network", "", ">BN twin", ">ND folded", ">ND as it is")
_NONE = "-"


def page(outcomes: Sequence[Outcome], command: str) -> str:
    """All that was measured, as the text of a Markdown file.

    Args:
        outcomes: one a network.
        command: that made them.

    Returns:
        On what and how it was measured, ratios over the batch-normalised twin, what the files
        cost, and what could not be done.
    """
    lines = [line for outcome in outcomes for line in latency_lines(outcome)]
    costs = [line for outcome in outcomes for line in file_lines(outcome)]
    notes = [f"- {outcome.network}: {note}" for outcome in outcomes for note in outcome.notes]
    blocks = [
        f"`{command}`",
        *sorted({_surroundings(profile) for outcome in outcomes for profile in outcome.profiles}),
        "Medians of the latency, and ratios over the batch-normalised twin in the same runtime "
        'with 95 % intervals. "ND as it is": torch.onnx.export of the trained network; in PyTorch, '
        "the network itself.",
        markdown_table(_LATENCY, lines) if lines else "",
        "ONNX Runtime on the processor, each session in a process of its own:" if costs else "",
        markdown_table(_FILES, costs) if costs else "",
        "\n".join(notes),
    ]
    return "\n\n".join(filter(None, blocks)) + "\n"


def latency_lines(outcome: Outcome) -> list[tuple[str, ...]]:
    """One line a runtime and batch; one that says why, where there is nothing to show."""
    if outcome.error is not None:
        return [(outcome.network, f"failed: {outcome.error}", *[_NONE] * (len(_LATENCY) - 2))]
    return [line for profile in outcome.profiles for line in _lines(outcome.network, profile)]


def file_lines(outcome: Outcome) -> list[tuple[str, ...]]:
    """Size, load time and peak memory of a network's files."""
    costs = {cost.model: cost for cost in outcome.files}
    if not costs:
        return []

    def line(network: str, what: str, texts: dict[str, str]) -> tuple[str, ...]:
        return (network, what, *(texts.get(model, _NONE) for model in (TWIN, FOLDED, NAIVE)))

    return [
        line(outcome.network, "file, MB", _each(costs, lambda cost: f"{cost.size / 1e6:.1f}")),
        line("", "load, ms", _each(costs, lambda cost: f"{cost.load_seconds * 1e3:.0f}")),
        line("", "peak memory, MB", _each(costs, lambda cost: f"{cost.peak_bytes / 1e6:.0f}")),
    ]


def _surroundings(profile: Profile) -> str:
    return f"{_machine(profile.environment)}. {_procedure(profile.method)}"


def _lines(network: str, profile: Profile) -> Iterator[tuple[str, ...]]:
    groups: dict[tuple[str, int], dict[str, Row]] = {}
    for row in profile.rows:
        key = (row.contestant.runtime, row.contestant.batch)
        groups.setdefault(key, {})[row.contestant.model] = row
    for (runtime, batch), rows in groups.items():
        in_pytorch = runtime in (TORCH, TORCH_CUDA)
        twin = rows[TWIN_BUNDLE if in_pytorch else TWIN]
        folded, as_it_is = (None, FOLDED) if in_pytorch else (FOLDED, NAIVE)
        yield (
            network,
            runtime,
            str(batch),
            f"{twin.latency.p50 * 1e3:.3g}",
            _ratio(rows.get(folded) if folded else None),
            _ratio(rows.get(as_it_is)),
        )


def _ratio(row: Row | None) -> str:
    if row is None or row.ratio is None:
        return _NONE
    ratio = row.ratio
    return f"{ratio.estimate:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]"


def _each(costs: dict[str, FileCost], text: Callable[[FileCost], str]) -> dict[str, str]:
    return {model: text(cost) for model, cost in costs.items()}


def _machine(environment: Environment) -> str:
    cpu, gpu = environment.cpu, environment.gpu
    versions = [f"{name} {version}" for name, version in sorted(environment.versions.items())]
    parts = [
        f"{cpu.model}, {len(cpu.affinity)} of {cpu.logical} logical processors",
        "" if gpu is None else f"{gpu.name}, driver {gpu.driver}",
        f"Python {environment.python}",
        *versions,
    ]
    return ", ".join(filter(None, parts))


def _procedure(method: Method) -> str:
    where = "one process" if method.processes == "one" else "processes of their own"
    return (
        f"In {where}, {method.openings} openings of {method.rounds} turns, each of about "
        f"{method.turn_seconds:g} s and {method.turn_iterations} or more runs"
    )
