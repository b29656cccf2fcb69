"""A machine with a clock that only work moves, and models that take as long as they are told."""

import gc

import numpy as np

from nd_deploy.runtime.base import Receipt


class Machine:
    """What happens on it, in order, and how late it is.

    Attributes:
        now: nanoseconds.
        events: what was called, as tuples.
        drift: by what factor every iteration makes all later ones slower.
        trip: called before each event with the event; it may raise.
    """

    def __init__(self, drift=1.0, trip=lambda event: None):
        self.now, self.slowness, self.drift, self.trip = 0, 1.0, drift, trip
        self.events = []
        self.models = []

    def clock(self):
        self.happens("clock")
        return self.now

    def work(self, nanoseconds):
        """One iteration; returns what it took."""
        took = round(nanoseconds * self.slowness)
        self.now += took
        self.slowness *= self.drift
        return took

    def happens(self, *event):
        self.trip(event)
        self.events.append(event)

    def opener(self, name, nanoseconds, **more):
        def opened():
            self.happens("open", name)
            self.now += 5_000_000
            model = Model(self, name, nanoseconds, **more)
            self.models.append(model)
            return model

        return opened

    def of(self, *kinds):
        return [event for event in self.events if event[0] in kinds]


class Model:
    """A subject whose iterations take nanoseconds(number of the iteration, of the opening)."""

    def __init__(self, machine, name, nanoseconds, between=0):
        self.machine, self.name, self.nanoseconds = machine, name, nanoseconds
        self.opening = len([model for model in machine.models if model.name == name])
        self.between = between
        self.iterations = 0
        self.closed = 0
        self.collecting = []
        self.receipt = Receipt(name, "1.0", ("CPU",), ("CPU",))

    @property
    def memory(self):
        return {"host": 1000 * (self.opening + 1)}

    def outputs(self):
        self.machine.happens("outputs", self.name)
        self.machine.now += 7_000_000
        return {"y": np.array([self.opening])}

    def measure(self, iterations):
        self.machine.happens("measure", self.name, iterations)
        self.collecting.append(gc.isenabled())
        took = []
        for _ in range(iterations):
            took.append(self.machine.work(self.nanoseconds(self.iterations, self.opening)))
            self.machine.now += self.between
            self.iterations += 1
        return {"latency": np.array(took) / 1e9, "compute": np.array(took) / 2e9}

    def close(self):
        self.closed += 1
        self.machine.happens("close", self.name)


def steady(nanoseconds):
    return lambda iteration, opening: nanoseconds
