"""What is timed, when and how often, on a machine whose clock only work moves."""

import functools
import gc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from profiling_stand_ins import Machine, steady

from nd_deploy.errors import BackendError, ParityError
from nd_deploy.profiling.results import Method
from nd_deploy.profiling.rounds import measure_in_turns

MS = 1_000_000
SHORT = Method(
    openings=2,
    rounds=3,
    turn_seconds=0.004,
    turn_iterations=3,
    warmup_seconds=0.002,
    warmup_iterations=2,
)


def measured(machine, openers, method=SHORT, **hooks):
    calls = {
        "check": lambda index, outputs: machine.happens("check", index, int(outputs["y"][0])),
        "observe": lambda index: machine.happens("observe", index),
        "report": lambda line: machine.happens("report", line),
    }
    return measure_in_turns(openers, method, clock=machine.clock, **(calls | hooks))


def turns(machine):
    """Who was measured and then observed, in order."""
    return [
        (before[1], before[2])
        for before, after in zip(machine.events, machine.events[1:], strict=False)
        if before[0] == "measure" and after[0] == "observe"
    ]


def warmups(machine, name):
    """How many iterations each opening ran before its first turn."""
    runs = [0]
    for before, after in zip(machine.events, machine.events[1:], strict=False):
        if before == ("open", name):
            runs.append(0)
        elif before[:2] == ("measure", name) and after[0] != "observe":
            runs[-1] += before[2]
    return runs[1:]


class TestOrder:
    def test_every_other_round_is_reversed_over_all_openings(self):
        machine = Machine()
        measured(machine, [machine.opener(name, steady(MS)) for name in "abc"])
        rounds = ["abc", "cba", "abc", "cba", "abc", "cba"]
        assert "".join(name for name, _ in turns(machine)) == "".join(rounds)

    def test_an_opening_opens_looks_warms_up_and_only_then_times(self):
        machine = Machine()
        measured(machine, [machine.opener(name, steady(MS)) for name in "ab"])
        events = machine.of("open", "outputs", "check", "measure", "close")
        first = [event[:2] for event in events[:10]]
        assert first[:6] == [
            ("open", "a"),
            ("outputs", "a"),
            ("check", 0),
            ("open", "b"),
            ("outputs", "b"),
            ("check", 1),
        ]
        assert first[6:] == [("measure", name) for name in "abab"]

    def test_all_are_closed_before_any_is_opened_again(self):
        machine = Machine()
        measured(machine, [machine.opener(name, steady(MS)) for name in "ab"])
        once = [("open", "a"), ("open", "b"), ("close", "b"), ("close", "a")]
        other_way_round = [("open", "b"), ("open", "a"), ("close", "a"), ("close", "b")]
        assert machine.of("open", "close") == once + other_way_round

    def test_each_opening_hands_its_own_first_outputs_to_the_check(self):
        machine = Machine()
        measured(machine, [machine.opener(name, steady(MS)) for name in "ab"])
        assert machine.of("check") == [
            ("check", 0, 0),
            ("check", 1, 0),
            ("check", 1, 1),
            ("check", 0, 1),
        ]

    def test_progress_is_told_as_it_is_made(self):
        machine = Machine()
        measured(machine, [machine.opener("a", steady(MS))])
        lines = [line for _, line in machine.of("report")]
        assert lines[:5] == [
            "opening 1 of 2, loading 1 of 1",
            "opening 1 of 2, warming up 1 of 1",
            "opening 1 of 2, round 1 of 3",
            "opening 1 of 2, round 2 of 3",
            "opening 1 of 2, round 3 of 3",
        ]
        assert lines[5] == "opening 2 of 2, loading 1 of 1"


class TestWarmUp:
    def test_fast_models_are_warmed_up_for_the_least_time(self):
        machine = Machine()
        method = Method(openings=2, rounds=1, warmup_seconds=0.2, warmup_iterations=10)
        measured(machine, [machine.opener("a", steady(MS))], method)
        assert all(200 <= runs < 400 for runs in warmups(machine, "a"))

    def test_slow_models_are_warmed_up_for_the_least_number_of_runs(self):
        machine = Machine()
        method = Method(openings=2, rounds=1, warmup_seconds=0.2, warmup_iterations=10)
        measured(machine, [machine.opener("a", steady(90 * MS))], method)
        assert warmups(machine, "a") == [10, 10]

    def test_one_run_at_least_tells_the_pace_when_no_warm_up_is_asked_for(self):
        machine = Machine()
        method = Method(openings=1, rounds=1, warmup_seconds=0, warmup_iterations=0)
        measured(machine, [machine.opener("a", steady(MS))], method)
        assert warmups(machine, "a") == [1]
        assert turns(machine) == [("a", 2 + 100)]


class TestTurns:
    @pytest.mark.parametrize(
        ("nanoseconds", "between", "iterations"),
        [
            (MS, 0, 100),
            (3 * MS, 0, 33),
            (MS, 4 * MS, 20),
            (80 * MS, 0, 3),
            (1_000, 0, 10_000),
        ],
    )
    def test_a_turn_fills_its_time_and_has_its_least_iterations(
        self, nanoseconds, between, iterations
    ):
        machine = Machine()
        method = Method(openings=1, rounds=2, turn_seconds=0.1, turn_iterations=3)
        openers = [machine.opener("a", steady(nanoseconds), between=between)]
        result = measured(machine, openers, method)
        (opening,) = result.timed[0].samples["latency"]
        assert [len(turn) for turn in opening] == [iterations] * 2

    def test_the_last_stretch_of_the_warm_up_sets_the_pace(self):
        machine = Machine()
        method = Method(openings=1, rounds=1, warmup_seconds=0.1, warmup_iterations=10)
        openers = [machine.opener("a", lambda n, opening: 50 * MS if n < 2 else MS)]
        result = measured(machine, openers, method)
        # The first ten take 108 ms, so that there is no second stretch.
        assert len(result.timed[0].samples["latency"][0][0]) == round(0.1 / 0.0108)
        machine = Machine()
        method = Method(openings=1, rounds=1, warmup_seconds=0.2, warmup_iterations=10)
        openers = [machine.opener("a", lambda n, opening: 50 * MS if n < 2 else MS)]
        result = measured(machine, openers, method)
        assert len(result.timed[0].samples["latency"][0][0]) == 100

    def test_later_openings_have_turns_as_long_as_the_first(self):
        machine = Machine()
        result = measured(
            machine, [machine.opener("a", lambda n, opening: MS if opening == 0 else 9 * MS)]
        )
        lengths = [[len(t) for t in opening] for opening in result.timed[0].samples["latency"]]
        assert lengths == [[4, 4, 4], [4, 4, 4]]

    def test_the_first_two_runs_of_a_turn_are_not_counted(self):
        machine = Machine()
        method = Method(
            openings=1,
            rounds=2,
            turn_seconds=0,
            turn_iterations=3,
            warmup_seconds=0,
            warmup_iterations=4,
        )
        result = measured(machine, [machine.opener("a", lambda n, opening: n + 1)], method)
        # Four to warm up; then 5 and 6, and 10 and 11, feel what ran before.
        expected = [[7e-9, 8e-9, 9e-9], [12e-9, 13e-9, 14e-9]]
        (latency,) = result.timed[0].samples["latency"]
        (compute,) = result.timed[0].samples["compute"]
        np.testing.assert_allclose(latency, expected, rtol=1e-12)
        np.testing.assert_allclose(compute, np.array(expected) / 2, rtol=1e-12)

    @pytest.mark.parametrize("was_on", [True, False])
    def test_no_garbage_is_collected_while_a_model_runs(self, was_on):
        machine = Machine()
        seen = []
        before = gc.isenabled()
        (gc.enable if was_on else gc.disable)()
        try:
            measured(
                machine,
                [machine.opener("a", steady(MS))],
                observe=lambda index: seen.append(gc.isenabled()),
            )
        finally:
            after = gc.isenabled()
            (gc.enable if before else gc.disable)()
        assert not any(on for model in machine.models for on in model.collecting)
        assert after is was_on
        assert set(seen) == {was_on}

    def test_collection_is_on_again_after_a_failure(self):
        machine = Machine(trip=tripping("measure", 1, BackendError("it broke", "mend it")))
        with pytest.raises(BackendError):
            measured(machine, [machine.opener("a", steady(MS))])
        assert gc.isenabled()


class TestWhatIsKept:
    def test_the_first_opening_tells_outputs_receipt_memory_and_setup(self):
        machine = Machine()
        result = measured(machine, [machine.opener(name, steady(MS)) for name in "ab"])
        for name, timed in zip("ab", result.timed, strict=True):
            assert timed.outputs["y"] == [0]
            assert timed.receipt.runtime == name
            assert timed.memory == {"host": 1000}
            assert timed.setup == pytest.approx({"open": 0.005, "first run": 0.007})
        assert not result.interrupted

    def test_nothing_is_measured_of_nobody(self):
        assert measured(Machine(), []).timed == ()

    def test_samples_are_those_of_the_contestant_in_the_order_of_openings_and_rounds(self):
        machine = Machine()
        slow = machine.opener("slow", lambda n, opening: (opening + 2) * MS + n)
        fast = machine.opener("fast", lambda n, opening: (opening + 1) * MS + n)
        result = measured(machine, [slow, fast])
        for name, timed in zip(("slow", "fast"), result.timed, strict=True):
            first_ms, length = {"slow": (2, 3), "fast": (1, 4)}[name]
            for opening, rounds in enumerate(timed.samples["latency"]):
                first = warmups(machine, name)[opening]
                for number, turn in enumerate(rounds):
                    begin = first + number * (length + 2) + 2
                    numbers = np.arange(begin, begin + length)
                    expected = ((opening + first_ms) * MS + numbers) / 1e9
                    np.testing.assert_allclose(turn, expected, rtol=1e-12)


def test_a_steady_drift_cancels_in_the_ratio_of_equal_models():
    machine = Machine(drift=1.001)
    method = Method(openings=1, rounds=12, turn_seconds=0, turn_iterations=20)
    openers = [machine.opener(name, steady(100 * MS)) for name in "ab"]
    a, b = (timed.samples["latency"][0] for timed in measured(machine, openers, method).timed)
    medians = np.array([[np.median(turn) for turn in turns] for turns in (a, b)])
    ratios = medians[1] / medians[0]
    # Each turn is of 22 runs, so that the second of a round is slower by that.
    np.testing.assert_allclose(ratios[::2], 1.001**22, rtol=1e-6)
    np.testing.assert_allclose(ratios[1::2], 1.001**-22, rtol=1e-6)
    assert np.exp(np.mean(np.log(ratios))) == pytest.approx(1, abs=1e-6)


def tripping(kind, number, *errors):
    """Raises the errors from the given call of a kind on, one a call; any kind if None."""
    seen = iter(range(10**9))
    left = list(errors)

    def trip(event):
        if kind in (None, event[0]) and next(seen) >= number and left:
            raise left.pop(0)

    return trip


class TestFailures:
    @settings(max_examples=60, deadline=None)
    @given(number=st.integers(0, 90))
    def test_whatever_fails_every_model_that_was_opened_is_closed_once(self, number):
        machine = Machine(trip=tripping(None, number, BackendError("it broke", "mend it")))
        total = len(run_whole().events)
        openers = [machine.opener(name, steady(MS)) for name in "ab"]
        if number < total:
            with pytest.raises(BackendError, match="it broke"):
                measured(machine, openers)
        else:
            measured(machine, openers)
        assert [model.closed for model in machine.models] == [1] * len(machine.models)

    def test_a_check_that_raises_ends_the_measurement_before_anything_is_timed(self):
        machine = Machine()

        def check(index, outputs):
            if index == 1:
                raise ParityError("b gives NaN", "do not time it")

        with pytest.raises(ParityError, match="b gives NaN"):
            measured(machine, [machine.opener(n, steady(MS)) for n in "abc"], check=check)
        assert machine.of("measure") == []
        assert machine.of("open") == [("open", "a"), ("open", "b")]


@functools.cache
def run_whole():
    """The same measurement without an interruption."""
    machine = Machine()
    machine.result = measured(machine, [machine.opener(name, steady(MS)) for name in "ab"])
    return machine


class TestCtrlC:
    @settings(max_examples=150, deadline=None)
    @given(number=st.integers(0, 90))
    def test_at_any_moment_it_keeps_exactly_the_rounds_that_all_have_finished(self, number):
        whole = run_whole()
        machine = Machine(trip=tripping(None, number, KeyboardInterrupt()))
        openers = [machine.opener(name, steady(MS)) for name in "ab"]
        finished = sum(event[0] == "observe" for event in whole.events[:number]) // 2
        if finished == 0:
            with pytest.raises(KeyboardInterrupt):
                measured(machine, openers)
        else:
            result = measured(machine, openers)
            assert result.interrupted is (number < len(whole.events))
            for timed, all_of_it in zip(result.timed, whole.result.timed, strict=True):
                expected = [all_of_it.samples["latency"][0][:finished]]
                if finished > 3:
                    expected.append(all_of_it.samples["latency"][1][: finished - 3])
                kept = timed.samples["latency"]
                assert [len(rounds) for rounds in kept] == [len(rounds) for rounds in expected]
                for rounds, expected_rounds in zip(kept, expected, strict=True):
                    np.testing.assert_array_equal(rounds, expected_rounds)
                assert timed.outputs["y"] == [0]
                assert timed.memory == {"host": 1000}
        assert [model.closed for model in machine.models] == [1] * len(machine.models)

    def test_a_second_one_while_the_models_are_closed_loses_nothing_either(self):
        def trip(event):
            late = len(machine.of("open")) == 4
            if late and (event[0] == "close" or event[-1] == "opening 2 of 2, round 2 of 3"):
                raise KeyboardInterrupt

        machine = Machine(trip=trip)
        result = measured(machine, [machine.opener(name, steady(MS)) for name in "ab"])
        assert result.interrupted
        assert [len(rounds) for rounds in result.timed[0].samples["latency"]] == [3, 1]
        assert [model.closed for model in machine.models] == [1, 1, 1, 1]
