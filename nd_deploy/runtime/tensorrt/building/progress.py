"""How far a build is, from the phases that TensorRT goes through."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

_SHOWN_EVERY = 10  # per cent


@dataclass
class _Phase:
    parent: str | None
    steps: int
    done: int = 0


class Progress:
    """Turns phases within phases into one number.

    A step of a phase counts as long as any other, and a phase inside a step as that step.

    Args:
        report: called with a line of text now and then, until it returns False to stop the build.
    """

    def __init__(self, report: Callable[[str], bool]) -> None:
        self._report = report
        self._phases: dict[str, _Phase] = {}
        self._shown = -1
        self._stopped = False
        # TensorRT calls from several threads.
        self._lock = threading.Lock()

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """A phase begins, inside the phase `parent` if there is one."""
        with self._lock:
            self._phases[name] = _Phase(parent, max(steps, 1))

    def step(self, name: str, done: int) -> bool:
        """Step number `done` of a phase has ended.

        Returns:
            Whether the build is to go on.
        """
        with self._lock:
            phase = self._phases.get(name)
            if phase is not None:
                phase.done = min(done + 1, phase.steps)
            shown = int(100 * self.fraction()) // _SHOWN_EVERY * _SHOWN_EVERY
            if shown > self._shown and not self._stopped:
                self._shown = shown
                self._stopped = not self._report(f"building the engine: {shown} %, {name}")
            return not self._stopped

    def finish(self, name: str) -> None:
        """A phase has ended."""
        with self._lock:
            self._phases.pop(name, None)

    def fraction(self) -> float:
        """How much of the outermost phase is done, from 0 to 1."""
        return max((self._done(name) for name in self._roots()), default=0.0)

    def _roots(self) -> list[str]:
        return [name for name, phase in self._phases.items() if phase.parent not in self._phases]

    def _done(self, name: str) -> float:
        phase = self._phases[name]
        inside = [
            self._done(other) for other, inner in self._phases.items() if inner.parent == name
        ]
        return min(1.0, (phase.done + max(inside, default=0.0)) / phase.steps)
