"""Times several models in turns, so that whatever slows the machine down hits all alike."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from nd_deploy.profiling.results import Method
from nd_deploy.profiling.subjects.base import Clock, Samples, Subject
from nd_deploy.profiling.turns import order_of_turns, take_turn
from nd_deploy.profiling.warming import NANOSECONDS, iterations_of_turn, warm_up
from nd_deploy.runtime.base import Receipt

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Opener: TypeAlias = Callable[[], Subject]

Outputs: TypeAlias = "Mapping[str, NDArray[Any]]"

# Of every contestant, in their order, what it took in one round.
_Round: TypeAlias = tuple[Samples, ...]


@dataclass(frozen=True)
class Timed:
    """What was measured of one contestant.

    Attributes:
        samples: by metric: for every opening its rounds, each an array of seconds, of shape
            (iterations,) and float64.
        outputs: of the first run of the first opening, by name.
        receipt: what it ran with.
        memory: bytes by what they are for, once it was warm in the first opening.
        setup: the seconds of "open" and "first run" in the first opening. Whoever is the first to
            need a library loads it, and a process of its own starts, within "open".
    """

    samples: Mapping[str, tuple[tuple[NDArray[np.float64], ...], ...]]
    outputs: Outputs
    receipt: Receipt
    memory: Mapping[str, int]
    setup: Mapping[str, float]


@dataclass(frozen=True)
class Measurement:
    """What was measured of all contestants.

    Attributes:
        timed: in their order.
        interrupted: whether it was ended before all rounds were done.
    """

    timed: tuple[Timed, ...]
    interrupted: bool


def measure_in_turns(
    openers: Sequence[Opener],
    method: Method,
    *,
    clock: Clock = time.perf_counter_ns,
    check: Callable[[int, Outputs], None] = lambda index, outputs: None,
    observe: Callable[[int], None] = lambda index: None,
    report: Callable[[str], None] = lambda line: None,
) -> Measurement:
    """Open contestants, warm them up, and time them in rounds in which each has one turn.

    Ctrl-C ends it early: the rounds that every contestant has finished are kept.

    Args:
        openers: what opens each contestant, here or in a process of its own.
        method: how often, and for how long; at least one opening and one round.
        clock: the host's, for all but the iterations themselves, which a subject times.
        check: called after each first run with the contestant's place and its outputs, before
            anything is timed; it raises if there is no point in going on.
        observe: called after each turn with the contestant's place, outside of what is timed.
        report: called with a line about how far it is.

    Raises:
        KeyboardInterrupt: Ctrl-C came before any round was finished.
        NdDeployError: a contestant cannot be opened or fails, or `check` raises it.
    """
    session = _Session(openers, method, clock, check, observe, report)
    interrupted = False
    try:
        for opening in range(method.openings):
            session.run_opening(opening)
    except KeyboardInterrupt:
        if not any(session.finished):
            raise
        interrupted = True
    return Measurement(session.timed(), interrupted)


@dataclass
class _Contestant:
    """What is found out about a contestant in its first opening, and holds for all."""

    outputs: Outputs
    receipt: Receipt
    setup: Mapping[str, float]
    memory: Mapping[str, int] = field(default_factory=dict)
    iterations: int = 0


@dataclass
class _Session:
    """A measurement that may end at any moment without losing a finished round."""

    openers: Sequence[Opener]
    method: Method
    clock: Clock
    check: Callable[[int, Outputs], None]
    observe: Callable[[int], None]
    report: Callable[[str], None]
    contestants: list[_Contestant] = field(default_factory=list)
    finished: list[list[_Round]] = field(default_factory=list)

    def run_opening(self, opening: int) -> None:
        """Open every contestant, take all rounds, and close them, whatever happens."""
        progress = f"opening {opening + 1} of {self.method.openings}"
        with self._opened(opening, progress) as subjects:
            self._warm_up(opening, subjects, progress)
            rounds: list[_Round] = []
            self.finished.append(rounds)
            for number in range(self.method.rounds):
                self.report(f"{progress}, round {number + 1} of {self.method.rounds}")
                rounds.append(self._round(opening * self.method.rounds + number, subjects))

    @contextlib.contextmanager
    def _opened(self, opening: int, progress: str) -> Iterator[list[Subject]]:
        with contextlib.ExitStack() as stack:
            subjects: dict[int, Subject] = {}
            # Who is opened first finds another memory than who is opened last.
            for place, index in enumerate(order_of_turns(opening, len(self.openers))):
                self.report(f"{progress}, loading {place + 1} of {len(self.openers)}")
                start = self.clock()
                subject = self.openers[index]()
                stack.callback(subject.close)
                opened = self.clock()
                outputs = subject.outputs()
                setup = {"open": opened - start, "first run": self.clock() - opened}
                self.check(index, outputs)
                if opening == 0:
                    seconds = {step: time / NANOSECONDS for step, time in setup.items()}
                    self.contestants.append(_Contestant(outputs, subject.receipt, seconds))
                subjects[index] = subject
            yield [subjects[index] for index in range(len(self.openers))]

    def _warm_up(self, opening: int, subjects: Sequence[Subject], progress: str) -> None:
        for index, (subject, contestant) in enumerate(zip(subjects, self.contestants, strict=True)):
            self.report(f"{progress}, warming up {index + 1} of {len(subjects)}")
            pace = warm_up(subject, self.method, self.clock)
            if opening == 0:
                contestant.iterations = iterations_of_turn(pace, self.method)
                contestant.memory = dict(subject.memory)

    def _round(self, number: int, subjects: Sequence[Subject]) -> _Round:
        turns: dict[int, Samples] = {}
        for index in order_of_turns(number, len(subjects)):
            turns[index] = take_turn(subjects[index], self.contestants[index].iterations)
            self.observe(index)
        return tuple(turns[index] for index in range(len(subjects)))

    def timed(self) -> tuple[Timed, ...]:
        """What the finished rounds tell of every contestant."""
        openings = [rounds for rounds in self.finished if rounds]
        return tuple(
            Timed(
                _by_metric([[turns[index] for turns in rounds] for rounds in openings]),
                contestant.outputs,
                contestant.receipt,
                contestant.memory,
                contestant.setup,
            )
            for index, contestant in enumerate(self.contestants)
        )


def _by_metric(
    openings: Sequence[Sequence[Samples]],
) -> dict[str, tuple[tuple[NDArray[np.float64], ...], ...]]:
    return {
        metric: tuple(tuple(turn[metric] for turn in rounds) for rounds in openings)
        for metric in openings[0][0]
    }
