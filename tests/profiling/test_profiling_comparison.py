import json
import math
from dataclasses import replace

import numpy as np
import pytest

from nd_deploy.bundle import strict_json
from nd_deploy.errors import InputError
from nd_deploy.profiling.comparison import (
    BASELINE_CHANGED,
    FASTER,
    NO_DIFFERENCE,
    SLOWER,
    Comparison,
    RowChange,
    compare,
    failures,
    parse_limit,
)
from nd_deploy.profiling.contestant import Contestant
from nd_deploy.profiling.differences import OTHER_ENVIRONMENT, OTHER_METHOD
from nd_deploy.profiling.environment.record import Cpu, Environment, Gpu, Jetson
from nd_deploy.profiling.figures import LATENCY, Measured, Ratio
from nd_deploy.profiling.results import Method, ModelRecord, Profile, Row
from nd_deploy.profiling.statistics import Interval, summarise

OPENINGS, ROUNDS = 3, 12
MACHINE = Environment(
    "x86_64", "Linux 6.8", "3.11.7", Cpu("EPYC", 4, (0, 1)), {"onnxruntime": "1.31.1"}
)


def simulate(times, seed=0, drift=1.0, openings=OPENINGS, rounds=ROUNDS, **fields):
    """A measurement of models in turns: {name or contestant: seconds}.

    Each opening is faster or slower by about 1 %, each round by about 0.5 %, and the whole machine
    by up to 10 % from round to round and by `drift` from day to day. The first model is what the
    others are compared with.
    """
    generator = np.random.default_rng(seed)
    machine = drift * generator.uniform(1.0, 1.1, (openings, rounds))
    contestants = [one if isinstance(one, Contestant) else contestant(one) for one in times]
    rows = []
    for each, seconds in zip(contestants, times.values(), strict=True):
        own = seconds * np.exp(0.01 * generator.normal(size=(openings, 1)))
        own = own * np.exp(0.005 * generator.normal(size=(openings, rounds)))
        rows.append(row(each, own * machine, contestants[0] if rows else None))
    names = dict.fromkeys(each.model for each in contestants)
    defaults = {
        "models": tuple(ModelRecord(n, "naive" if n == "naive" else "bundle") for n in names),
        "method": Method(openings, rounds),
        "environment": MACHINE,
        "created": "2026-11-25T12:00:00+00:00",
    }
    return Profile(rows=tuple(rows), **(defaults | fields))


def contestant(model, runtime="ort-cpu", batch=1, **fields):
    return Contestant(model, runtime, batch, **fields)


def row(each, times, over=None, receipt=None):
    summary = summarise(times.ravel())
    measured = Measured(summary, tuple(map(tuple, times.tolist())))
    # What the ratio was is worked out again from the rounds.
    ratio = None if over is None else Ratio(str(over), LATENCY, math.nan, 0.0, math.inf, 0.95)
    return Row(each, {LATENCY: measured}, 1 / summary.mean, ratio, receipt=receipt or {})


def change_of(comparison, model):
    (found,) = [one for one in comparison.rows if one.new.contestant.model == model]
    return found


def test_a_slowdown_is_found_and_its_interval_holds_it():
    held = 0
    for seed in range(10):
        old = simulate({"naive": 2e-3, "digits": 1e-3}, seed)
        new = simulate({"naive": 2e-3, "digits": 1.08e-3}, seed + 100)
        found = change_of(compare(old, new), "digits")
        assert found.verdict == SLOWER
        held += found.ratio.low <= 1.08 <= found.ratio.high
    assert held >= 9


def test_no_difference_is_seen_where_there_is_none():
    unseen = 0
    for seed in range(10):
        old = simulate({"naive": 2e-3, "digits": 1e-3}, seed)
        new = simulate({"naive": 2e-3, "digits": 1e-3}, seed + 100)
        comparison = compare(old, new)
        unseen += change_of(comparison, "digits").verdict == NO_DIFFERENCE
        assert not failures(comparison, 0.05)
    assert unseen >= 9


def test_a_slower_day_shows_in_the_latency_and_cancels_in_the_ratio():
    old = simulate({"naive": 2e-3, "digits": 1e-3})
    new = simulate({"naive": 2e-3, "digits": 1e-3}, 1, drift=1.3)
    comparison = compare(old, new)
    found = change_of(comparison, "digits")
    assert found.latency.low > 1.2
    assert found.ratio.estimate == pytest.approx(1, abs=0.03)
    assert (found.change, found.verdict) == (found.ratio, NO_DIFFERENCE)
    assert failures(comparison, 0.05) == ()


def test_the_ratios_change_is_that_of_the_medians_round_by_round():
    old = simulate({"naive": 2e-3, "digits": 1e-3})
    new = simulate({"naive": 2e-3, "digits": 1.5e-3}, 1)

    def centre(measurement):
        base, own = (np.array(each.metrics[LATENCY].rounds) for each in measurement.rows)
        return np.exp(np.mean(np.median(np.log(own / base), axis=1)))

    found = change_of(compare(old, new), "digits")
    assert found.ratio.estimate == pytest.approx(centre(new) / centre(old), rel=1e-12)


def test_a_faster_row_is_said_to_be():
    comparison = compare(simulate({"digits": 1e-3}), simulate({"digits": 8e-4}, 1))
    assert comparison.rows[0].verdict == FASTER
    assert comparison.rows[0].ratio is None
    assert failures(comparison, 0.0) == ()


def test_without_a_baseline_the_latency_decides():
    comparison = compare(simulate({"digits": 1e-3}), simulate({"digits": 1.3e-3}, 1))
    assert comparison.rows[0].change == comparison.rows[0].latency
    assert failures(comparison, 0.05) == comparison.rows


def test_what_others_are_held_against_fails_nothing_and_is_remarked_on():
    old = simulate({"naive": 2e-3, "digits": 1e-3})
    new = simulate({"naive": 2e-3, "digits": 1e-3}, 1, drift=1.3)
    comparison = compare(old, new)
    naive = change_of(comparison, "naive")
    assert (naive.only_baseline, naive.verdict) == (True, SLOWER)
    (remark,) = comparison.remarks
    assert remark.kind == BASELINE_CHANGED
    assert "naive, ort-cpu, batch 1, which ratios are over, takes 1.28 [" in remark.problem


def test_a_bundle_that_others_are_held_against_may_fail():
    old = simulate({"a": 1e-3, "b": 1e-3})
    new = simulate({"a": 1.3e-3, "b": 1.3e-3}, 1)
    comparison = compare(old, new)
    assert failures(comparison, 0.05) == (change_of(comparison, "a"),)
    assert [remark.kind for remark in comparison.remarks] == [BASELINE_CHANGED]


def test_rows_that_took_turns_with_fewer_rounds_are_compared_by_their_latency():
    old = simulate({"naive": 2e-3, "digits": 1e-3})
    shorter = Measured(old.rows[0].latency, old.rows[0].metrics[LATENCY].rounds[:2])
    uneven = replace(old, rows=(replace(old.rows[0], metrics={LATENCY: shorter}), old.rows[1]))
    found = change_of(compare(uneven, simulate({"naive": 2e-3, "digits": 1e-3}, 1)), "digits")
    assert found.ratio is None


def test_rows_over_another_baseline_are_compared_by_their_latency():
    old = simulate({"naive": 2e-3, "a": 1e-3, "b": 1e-3})
    new = simulate({"a": 1e-3, "naive": 2e-3, "b": 1e-3}, 1)
    found = change_of(compare(old, new), "b")
    assert found.ratio is None
    assert not any(one.only_baseline for one in compare(old, new).rows)


@pytest.mark.parametrize("which", ["old", "new", "both"])
def test_a_single_turn_says_nothing_of_how_far_off_it_is(which):
    few = {"openings": 1, "rounds": 1}
    old = simulate({"digits": 1e-3}, **(few if which != "new" else {}))
    new = simulate({"digits": 9e-3}, 1, **(few if which != "old" else {}))
    comparison = compare(old, new)
    assert comparison.rows[0].latency[1:] == (0.0, math.inf)
    assert comparison.rows[0].verdict == NO_DIFFERENCE
    assert failures(comparison, 0.05) == ()


def test_measurements_may_have_other_numbers_of_openings_and_rounds():
    old = simulate({"naive": 2e-3, "digits": 1e-3}, openings=2, rounds=20)
    new = simulate({"naive": 2e-3, "digits": 1.5e-3}, 1, openings=4, rounds=5)
    assert change_of(compare(old, new), "digits").verdict == SLOWER


def test_the_only_bundles_are_the_same_whatever_they_are_called():
    old = simulate({"naive": 2e-3, "digits-v1": 1e-3})
    new = simulate({"naive": 2e-3, "digits-v2": 1e-3}, 1)
    comparison = compare(old, new)
    assert [one.old.contestant.model for one in comparison.rows] == ["naive", "digits-v1"]
    assert change_of(comparison, "digits-v2").ratio is not None


def test_one_of_several_bundles_goes_by_its_name():
    old = simulate({"a": 1e-3, "b": 1e-3})
    new = simulate({"b": 1e-3, "c": 1e-3}, 1)
    comparison = compare(old, new)
    assert [one.new.contestant.model for one in comparison.rows] == ["b"]
    assert comparison.only_old == ("a, ort-cpu, batch 1",)
    assert comparison.only_new == ("c, ort-cpu, batch 1",)


def test_a_model_of_another_kind_is_another_model():
    old = simulate({"a": 1e-3, "b": 1e-3})
    onnx = tuple(replace(model, kind="onnx") for model in old.models)
    with pytest.raises(InputError, match="no row in common: the old one has 'a, ort-cpu, batch 1'"):
        compare(old, replace(old, models=onnx))


@pytest.mark.parametrize(
    "change",
    [{"runtime": "torch"}, {"batch": 8}, {"threads": 1}, {"cuda_graph": True}, {"cold_l2": True}],
)
def test_rows_run_in_another_way_are_not_compared(change):
    way = replace(contestant("digits"), **change)
    old = simulate({contestant("digits"): 1e-3})
    new = simulate({contestant("digits"): 1e-3, way: 1e-3}, 1)
    comparison = compare(old, new)
    assert len(comparison.rows) == 1
    assert comparison.only_new == (str(way),)


def test_measurements_without_a_row_in_common_are_refused():
    old, new = simulate({"digits": 1e-3}), simulate({contestant("digits", batch=8): 1e-3})
    with pytest.raises(InputError, match="no row in common") as caught:
        compare(old, new)
    assert "batch 1" in caught.value.problem
    assert "batch 8" in caught.value.problem
    with pytest.raises(InputError, match="the new one none at all"):
        compare(old, replace(new, rows=()))


@pytest.mark.parametrize("rounds", [(), ((),), ((1e-3,), ()), ((0.0,),), ((math.nan,),)])
def test_rows_without_times_are_refused(rounds):
    good = simulate({"digits": 1e-3})
    measured = replace(good.rows[0].metrics[LATENCY], rounds=rounds)
    bad = replace(good, rows=(replace(good.rows[0], metrics={LATENCY: measured}),))
    with pytest.raises(InputError, match="the old measurement has no times of digits, ort-cpu"):
        compare(bad, good)
    with pytest.raises(InputError, match="the new measurement has no times of digits, ort-cpu"):
        compare(good, bad)


def changed(estimate, low, high, **fields):
    one = simulate({"digits": 1e-3}, openings=1, rounds=2).rows[0]
    return RowChange(one, one, Interval(estimate, low, high), **fields)


@pytest.mark.parametrize(
    ("estimate", "low", "high", "fails"),
    [
        (1.08, 1.03, 1.12, True),
        (1.08, 0.99, 1.2, False),
        (1.04, 1.03, 1.05, False),
        (1.05, 1.04, 1.06, False),
        (0.5, 0.4, 0.6, False),
        (math.nan, math.nan, math.nan, False),
    ],
)
def test_a_row_fails_when_it_is_over_the_limit_and_noise_cannot_be_why(estimate, low, high, fails):
    comparison = Comparison((changed(estimate, low, high),), (), (), ())
    assert bool(failures(comparison, 0.05)) == fails


def test_the_ratio_decides_where_there_is_one():
    slow, even = Interval(1.3, 1.2, 1.4), Interval(1.0, 0.99, 1.01)
    comparison = Comparison((changed(*slow, ratio=even), changed(*even, ratio=slow)), (), (), ())
    assert failures(comparison, 0.05) == comparison.rows[1:]


GPU = Gpu("H200", driver="580.95", cuda="13.0", power_limit_w=700.0)
JETSON = Jetson("Orin", "36.4.3", "MAXN (0)", "locked")


@pytest.mark.parametrize(
    ("was", "now", "said"),
    [
        ({"machine": "x86_64"}, {"machine": "aarch64"}, "machine: was x86_64, is aarch64"),
        ({}, {"cpu": Cpu("Xeon", 4, (0, 1))}, "CPU: was EPYC, is Xeon"),
        ({}, {"cpu": Cpu("EPYC", 4, (0,))}, "processors that may be used: was 2, is 1"),
        (
            {"cpu": Cpu("EPYC", 4, (0, 1), governor="performance", turbo=True)},
            {"cpu": Cpu("EPYC", 4, (0, 1), governor="powersave", turbo=True)},
            "governor: was performance, is powersave",
        ),
        (
            {"cpu": Cpu("EPYC", 4, (0, 1), turbo=True)},
            {"cpu": Cpu("EPYC", 4, (0, 1), turbo=False)},
            "turbo: was on, is off",
        ),
        ({"gpu": GPU}, {"gpu": replace(GPU, name="H100")}, "GPU: was H200, is H100"),
        ({"gpu": GPU}, {"gpu": replace(GPU, driver="590")}, "driver: was 580.95, is 590"),
        (
            {"gpu": GPU},
            {"gpu": replace(GPU, power_limit_w=500.0)},
            "power limit of the GPU: was 700, is 500",
        ),
        (
            {"jetson": JETSON},
            {"jetson": replace(JETSON, power_mode="15W (1)")},
            "power mode: was MAXN (0), is 15W (1)",
        ),
        ({}, {"versions": {"onnxruntime": "1.32.0"}}, "onnxruntime: was 1.31.1, is 1.32.0"),
    ],
)
def test_another_environment_is_remarked_on(was, now, said):
    old = simulate({"digits": 1e-3}, environment=replace(MACHINE, **was))
    new = simulate({"digits": 1e-3}, environment=replace(MACHINE, **now))
    (remark,) = compare(old, new).remarks
    assert (remark.kind, remark.problem) == (OTHER_ENVIRONMENT, said)
    assert remark.remedy


def test_what_one_of_the_two_does_not_know_is_no_difference():
    known = replace(MACHINE, gpu=GPU, jetson=JETSON, cpu=replace(MACHINE.cpu, governor="powersave"))
    old, new = simulate({"digits": 1e-3}), simulate({"digits": 1e-3}, environment=known)
    assert compare(old, new).remarks == ()
    assert compare(new, old).remarks == ()


def test_other_threads_are_remarked_on_once_for_all_rows():
    times = {contestant("digits", batch=batch): 1e-3 * batch for batch in (1, 8)}
    receipts = [{"threads": 4, "tf32": None}, {"threads": 2, "tf32": None}]
    old, new = (
        replace(one, rows=tuple(replace(each, receipt=receipt) for each in one.rows))
        for one, receipt in zip([simulate(times), simulate(times)], receipts, strict=True)
    )
    (remark,) = compare(old, new).remarks
    assert remark.problem == "threads: was 4, is 2 (digits, ort-cpu, batch 1 and 1 more)"


def test_another_method_is_remarked_on():
    old = simulate({"digits": 1e-3}, method=Method(processes="each"))
    new = simulate({"digits": 1e-3}, interrupted=True)
    remarks = compare(old, new).remarks
    assert {remark.kind for remark in remarks} == {OTHER_METHOD}
    assert [remark.problem for remark in remarks] == [
        "processes: was each, is one",
        "the new measurement was ended early",
    ]


def test_a_comparison_is_one_json_document():
    old = simulate({"naive": 2e-3, "a": 1e-3, "b": 1e-3})
    new = simulate({"naive": 2e-3, "a": 1e-3}, 1)
    comparison = compare(old, new)
    fields = json.loads(strict_json.dumps(comparison.as_dict()))
    assert fields["kind"] == "nd-deploy comparison"
    assert [one["new"]["model"] for one in fields["rows"]] == ["naive", "a"]
    assert fields["rows"][1]["ratio"] == comparison.rows[1].ratio._asdict()
    assert fields["rows"][0]["ratio"] is None
    assert fields["rows"][1]["verdict"] == NO_DIFFERENCE
    assert fields["only_old"] == ["b, ort-cpu, batch 1"]


@pytest.mark.parametrize(
    ("text", "limit"), [("5%", 0.05), ("2.5 %", 0.025), (" 0% ", 0.0), ("120%", 1.2)]
)
def test_a_limit_is_read_as_percent(text, limit):
    assert parse_limit(text) == pytest.approx(limit)


@pytest.mark.parametrize(
    "text", ["5", "", "%", "-5%", "five%", "nan%", "inf%", "1e3%", "5%%", "5 per cent", "\u0665%"]
)
def test_a_limit_that_is_none_is_refused(text):
    with pytest.raises(InputError, match="--fail-over") as caught:
        parse_limit(text)
    assert "5%" in caught.value.remedy
