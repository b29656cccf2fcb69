"""The clock and the timers behind deadlines and delays."""

import asyncio
import time

import pytest
from batching_stand_ins import PATIENCE, StandIn, TestedClock, play, refusal, request

from nd_deploy.serve.batching.batching_queue import BatchingQueue
from nd_deploy.serve.batching.clock import Alarm, SystemClock
from nd_deploy.serve.settings import Settings


class TestAlarm:
    @pytest.fixture
    def clock(self):
        return TestedClock()

    @pytest.fixture
    def rings(self):
        return []

    @pytest.fixture
    def alarm(self, clock, rings):
        return Alarm(clock, lambda: rings.append(clock.now()))

    def test_it_rings_once_at_the_earliest_of_the_times_asked_for(self, alarm, clock, rings):
        for seconds in (5.0, 3.0, 4.0):
            alarm.ask(clock.now() + seconds)
            assert len(clock.pending()) == 1
        begin = clock.now()
        clock.advance(2.9)
        assert rings == []
        clock.advance(0.1)
        clock.advance(9.0)
        assert rings == [begin + 3.0]

    def test_it_can_be_asked_again_after_it_rang(self, alarm, clock, rings):
        alarm.ask(clock.now() + 1.0)
        clock.advance(1.0)
        alarm.ask(clock.now() + 5.0)
        clock.advance(5.0)
        assert len(rings) == 2

    def test_it_does_not_ring_when_cancelled_until_asked_again(self, alarm, clock, rings):
        alarm.ask(clock.now() + 1.0)
        alarm.cancel()
        clock.advance(1.0)
        assert rings == clock.pending() == []
        alarm.ask(clock.now() + 2.0)
        clock.advance(2.0)
        assert len(rings) == 1

    def test_it_can_be_asked_while_it_rings(self, clock):
        rings = []

        def ring():
            rings.append(clock.now())
            if len(rings) < 3:
                alarm.ask(clock.now() + 1.0)

        alarm = Alarm(clock, ring)
        alarm.ask(clock.now() + 1.0)
        for _ in range(5):
            clock.advance(1.0)
        assert len(rings) == 3


class TestSystemClock:
    def test_it_calls_after_whole_milliseconds_and_never_at_once(self, monkeypatch):
        async def scenario():
            delays = []
            loop = asyncio.get_running_loop()
            monkeypatch.setattr(loop, "call_later", lambda delay, _: delays.append(delay))
            monkeypatch.setattr(SystemClock, "now", staticmethod(lambda: 100.0))
            for when in (99.0, 100.0, 100.0002, 100.0015, 107.0):
                SystemClock().call_at(when, print)
            monkeypatch.undo()
            assert delays == pytest.approx([0.001, 0.001, 0.001, 0.002, 7.0])

        play(scenario)

    def test_deadlines_pass_by_it(self):
        async def scenario():
            model = StandIn()
            queue = BatchingQueue(model, Settings(deadline=0.02))
            begin = time.monotonic()
            task = asyncio.create_task(queue.submit(request(1)))
            assert await asyncio.wait_for(refusal(task), PATIENCE) == (504, "deadline passed")
            assert time.monotonic() - begin >= 0.02
            model.let()
            await queue.drain()
            queue.close()

        play(scenario)
