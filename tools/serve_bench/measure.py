"""Takes the turns: every way of asking every server, each between two turns of ONNX Runtime."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from serve_bench import procfs
from serve_bench.figures import Compared, Contestant, Footprint, Row, Turn, row_of
from serve_bench.models import INPUT
from serve_bench.processes import Bare, Pins, Server, ask, bare_runtime, serving
from serve_bench.requests_on_wire import GRPC, request_of
from serve_bench.results import JOINING, SINGLE

BARE = "bare ONNX Runtime"
BARE_BATCHES = (1, 8, 32)
_MB = 1e6


@dataclass(frozen=True)
class Plan:
    """What to measure of every model.

    Attributes:
        openings: how often all processes are started: where one puts its weights decides how fast
            it is.
        rounds: turns of each contestant in an opening.
        seconds: of a turn.
        concurrencies: requests at a time.
        forms: of the requests.
        beside: servers that are there already, by name.
    """

    openings: int
    rounds: int
    seconds: float
    concurrencies: tuple[int, ...]
    forms: tuple[str, ...]
    beside: tuple[tuple[str, Server], ...] = ()


@dataclass(frozen=True)
class _Entry:
    """A contestant, and what takes a turn of it of so many seconds."""

    contestant: Contestant
    take: Callable[[float], Turn]


def measure(
    bundle: Path, plan: Plan, pins: Pins, folder: Path, report: Callable[[str], None]
) -> tuple[list[Row], list[Footprint]]:
    """Measure a model.

    Args:
        bundle: its folder, under whose name it is served.
        plan: what to measure.
        pins: where things run.
        folder: for the requests.
        report: told of each opening.

    Returns:
        The rows of all contestants, and the memory of the servers in the last opening.
    """
    x = np.random.default_rng(0).standard_normal((1, *INPUT), np.float32)
    np.save(folder / "x.npy", x)
    requests = {form: folder / f"{bundle.name} {form}" for form in plan.forms}
    for form, file in requests.items():
        file.write_bytes(request_of(form, bundle.name, _input_name(bundle), x))
    turns: dict[Contestant, list[Compared]] = {}
    footprints: list[Footprint] = []
    for opening in range(plan.openings):
        report(f"{bundle.name}: opening {opening + 1} of {plan.openings}")
        with _opened(bundle, folder / "x.npy", plan, pins) as (bare, servers):
            entries = _entries(bundle.name, bare, servers, requests, plan, pins)
            for contestant, compared in _rounds(entries, bare, plan):
                turns.setdefault(contestant, []).append(compared)
            footprints = [_footprint(bundle.name, *each, bare) for each in servers.items()]
    return [row_of(contestant, turns[contestant]) for contestant in turns], footprints


@contextlib.contextmanager
def _opened(
    bundle: Path, x: Path, plan: Plan, pins: Pins
) -> Iterator[tuple[Bare, dict[str, Server]]]:
    """All processes, started anew but for those beside."""
    with (
        bare_runtime(bundle / "model.onnx", x, pins.server) as bare,
        serving(bundle, pins.server) as joining,
        serving(bundle, pins.server, "--max-batch", "1") as single,
    ):
        yield bare, {JOINING: joining, SINGLE: single, **dict(plan.beside)}


def _rounds(
    entries: Sequence[_Entry], bare: Bare, plan: Plan
) -> Iterator[tuple[Contestant, Compared]]:
    """The turns of an opening, after some that do not count; every other round backwards."""
    for entry in entries:
        entry.take(plan.seconds / 10)
    for number in range(plan.rounds):
        order = entries if number % 2 == 0 else entries[::-1]
        yield from take_turns(order, bare, plan.seconds)


def take_turns(
    entries: Sequence[_Entry], bare: Bare, seconds: float
) -> list[tuple[Contestant, Compared]]:
    """A turn of each, with one of ONNX Runtime before the first and after every one."""
    found = []
    before = _bare_turn(bare, 1, seconds / 2)
    for entry in entries:
        turn = entry.take(seconds)
        after = _bare_turn(bare, 1, seconds / 2)
        found.append((entry.contestant, Compared(turn, before, after)))
        before = after
    return found


def _entries(
    model: str,
    bare: Bare,
    servers: dict[str, Server],
    requests: dict[str, Path],
    plan: Plan,
    pins: Pins,
) -> list[_Entry]:
    entries = [
        _Entry(
            Contestant(model, BARE, f"batch {batch}", 1),
            partial(_bare_turn, bare, batch),
        )
        for batch in BARE_BATCHES
    ]
    for name, server in servers.items():
        for form, request in requests.items():
            if form == GRPC and server.grpc_port is None:
                continue
            entries += [
                _Entry(
                    Contestant(model, name, form, concurrency),
                    partial(_turn, server, form, request, concurrency, pins.client),
                )
                for concurrency in plan.concurrencies
            ]
    return entries


def _bare_turn(bare: Bare, batch: int, seconds: float) -> Turn:
    found = bare.run(batch, seconds)
    return Turn(found["count"], found["cpu_seconds"], tuple(found["seconds"]))


def _turn(
    server: Server, form: str, request: Path, concurrency: int, pin: int | None, seconds: float
) -> Turn:
    before = procfs.cpu_seconds(server.process)
    taken = ask(server, form, request, concurrency, seconds, pin)
    return Turn(len(taken), procfs.cpu_seconds(server.process) - before, tuple(taken))


def _footprint(model: str, name: str, server: Server, bare: Bare) -> Footprint:
    own, session = procfs.memory(server.process), procfs.memory(bare.process)
    sizes = (own.rss, own.pss, session.rss, session.pss)
    return Footprint(model, name, *(size / _MB for size in sizes))


def _input_name(bundle: Path) -> str:
    from nd_deploy.bundle import read_bundle

    name: str = read_bundle(bundle).manifest.inputs[0].name
    return name
