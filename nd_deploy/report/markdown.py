"""A measurement as Markdown, for a README or an issue."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from nd_deploy.profiling.environment.record import Cpu, Environment, Gpu, Jetson
from nd_deploy.profiling.results import Method, Profile
from nd_deploy.report.headline import headline
from nd_deploy.report.table import Cells, table_of

_Facts: TypeAlias = list[tuple[str, object]]

# What begins a tag, an entity, a cell, a link, emphasis or code in GitHub's Markdown.
_SPECIAL = re.compile(r"[\\`*_<|&]|\](?=[(\[:])")


def to_markdown(profile: Profile) -> str:
    """A measurement as the text of a Markdown file.

    Args:
        profile: the measurement.

    Returns:
        The headline, the table, what there is to warn of, and in a few lines on what and how it was
        measured.
    """
    blocks = [
        _list(map(_text, headline(profile))),
        markdown_table(*table_of(profile)),
        _list(_remarks(profile)),
        _text(f"Measured {profile.created} on {_surroundings(profile.environment)}."),
        _text(_procedure(profile.method, profile.interrupted)),
        "" if profile.command is None else _code(profile.command),
    ]
    return "\n\n".join(filter(None, blocks)) + "\n"


def markdown_table(columns: Sequence[str], lines: Sequence[Cells]) -> str:
    """A table, as `nd_deploy.cli.render.table` takes it, in GitHub's Markdown."""
    headings = [_text(column.removeprefix(">")) for column in columns]
    rules = ["---:" if column.startswith(">") else "---" for column in columns]
    cells = ([_text(cell) for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in (headings, rules, *cells))


def _list(items: Iterable[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def _remarks(profile: Profile) -> list[str]:
    found = [("", remark) for remark in profile.remarks]
    found += [(f"{row.contestant}: ", remark) for row in profile.rows for remark in row.remarks]
    return [_text(f"{whose}{remark.problem} ({remark.remedy})") for whose, remark in found]


def _surroundings(environment: Environment) -> str:
    gpu, jetson = environment.gpu, environment.jetson
    software: _Facts = [
        ("", environment.system),
        ("Python ", environment.python),
        *((f"{name} ", version) for name, version in sorted(environment.versions.items())),
    ]
    facts: list[_Facts] = [
        _cpu(environment.cpu),
        [] if gpu is None else _gpu(gpu),
        [] if jetson is None else _jetson(jetson),
        software,
    ]
    return "; ".join(filter(None, map(_known, facts))) or "a machine of which nothing is known"


def _known(facts: _Facts) -> str:
    """What is known among some facts, each given with what stands before it."""
    return ", ".join(f"{name}{fact}" for name, fact in facts if fact not in (None, "unknown"))


def _cpu(cpu: Cpu) -> _Facts:
    used = f"{len(cpu.affinity)} of {cpu.logical} logical processors"
    return [
        ("", cpu.model),
        ("", used if cpu.logical else None),
        ("quota ", None if cpu.quota is None else f"{cpu.quota:g}"),
        ("governor ", cpu.governor),
    ]


def _gpu(gpu: Gpu) -> _Facts:
    return [
        ("", gpu.name),
        ("driver ", gpu.driver),
        ("CUDA ", gpu.cuda),
        ("locked clocks ", gpu.locked_clocks),
    ]


def _jetson(jetson: Jetson) -> _Facts:
    return [
        ("", jetson.model),
        ("Jetson Linux ", jetson.release),
        ("power mode ", jetson.power_mode),
        ("clocks ", jetson.clocks),
    ]


def _procedure(method: Method, interrupted: bool) -> str:
    where = "in one process" if method.processes == "one" else "in a process each"
    return (
        f"Each model was opened {method.openings} times and warmed up for at least "
        f"{method.warmup_seconds:g} s and {method.warmup_iterations} runs; then all of a batch "
        f"took {method.rounds} turns, {where}, of about {method.turn_seconds:g} s and at least "
        f"{method.turn_iterations} runs. Intervals are bootstrapped over openings and turns."
        + (" The measurement was ended early." if interrupted else "")
    )


def _text(text: str) -> str:
    """Text that says in Markdown what it says."""
    return _SPECIAL.sub(r"\\\g<0>", " ".join(text.split()))


def _code(text: str) -> str:
    """Text as code, fenced by more backticks than it holds in a row."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"
