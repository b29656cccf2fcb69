import math
import statistics

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from nd_deploy.profiling.statistics import (
    change_of,
    outlier_share,
    ratio_of,
    student_quantile,
    summarise,
)

times = st.floats(1e-6, 1e-1)


def two_levels(generator, openings, rounds, between, within):
    """Rounds of openings that differ among themselves, as logarithms around 0."""
    shifts = generator.normal(0, between, (openings, 1))
    return np.exp(shifts + generator.normal(0, within, (openings, rounds)))


@given(st.lists(times, min_size=2, max_size=60))
def test_a_summary_is_what_pythons_own_statistics_say(samples):
    found = summarise(np.array(samples))
    assert found.n == len(samples)
    assert found.mean == pytest.approx(statistics.fmean(samples))
    assert found.std == pytest.approx(statistics.stdev(samples), abs=1e-12)
    assert found.cv == pytest.approx(found.std / found.mean)
    assert found.p50 == pytest.approx(statistics.median(samples))
    assert (found.min, found.max) == (min(samples), max(samples))
    percentiles = statistics.quantiles(samples, n=100, method="inclusive")
    assert found.quantiles == pytest.approx((min(samples), *percentiles, max(samples)))
    assert (found.p90, found.p95, found.p99) == found.quantiles[90:100:5] + found.quantiles[99:100]


def test_a_single_sample_has_no_spread():
    found = summarise(np.array([2e-3]))
    assert (found.std, found.cv, found.p99) == (0, 0, 2e-3)


@pytest.mark.parametrize("freedom", [1, 2, 4, 9, 39])
@pytest.mark.parametrize("probability", [0.5, 0.9, 0.975, 0.995])
def test_the_quantiles_of_students_distribution_are_those_of_scipy(freedom, probability):
    expected = scipy.stats.t.ppf(probability, freedom)
    assert student_quantile(probability, freedom) == pytest.approx(expected, rel=1e-6, abs=1e-9)


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.lists(times, min_size=3, max_size=3), min_size=2, max_size=4),
    st.floats(0.1, 10),
    st.integers(0, 1000),
)
def test_drift_that_hits_both_alike_leaves_the_ratio_as_it_is(base, factor, seed):
    drift = np.exp(np.random.default_rng(seed).normal(0, 1, np.shape(base)))
    drifted = np.asarray(base) * drift
    found = ratio_of(drifted * factor, drifted, "base", "latency")
    assert found.estimate == pytest.approx(factor)
    assert (found.low, found.high) == pytest.approx((factor, factor))
    assert (found.over, found.metric, found.confidence) == ("base", "latency", 0.95)


def test_the_other_way_round_the_ratio_is_its_inverse():
    generator = np.random.default_rng(1)
    one, other = (two_levels(generator, 5, 8, 0.01, 0.02) for _ in range(2))
    there, back = ratio_of(one, other, "b", "latency"), ratio_of(other, one, "a", "latency")
    assert there.estimate == pytest.approx(1 / back.estimate)
    assert there.low == pytest.approx(1 / back.high, rel=2e-3)


def test_the_ratio_is_the_geometric_mean_over_openings_of_their_median_ratio():
    rounds = [[1.0, 2.0, 9.0], [4.0, 8.0, 8.0]]
    over = [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
    found = ratio_of(rounds, over, "base", "latency")
    assert found.estimate == pytest.approx(math.sqrt(2 * 8))
    assert found.low <= found.estimate <= found.high


def test_an_interrupted_measurement_has_a_ratio_of_what_there_is():
    found = ratio_of([[2.0, 2.2], [2.1]], [[1.0, 1.1], [1.0]], "base", "latency")
    assert found.estimate == pytest.approx(math.sqrt(2.0 * 2.1))
    single = ratio_of([[3.0]], [[1.5]], "base", "latency")
    assert (single.estimate, single.low, single.high) == pytest.approx((2, 2, 2))


@pytest.mark.parametrize(("between", "within"), [(0.02, 0.02), (0.0, 0.05), (0.05, 0.005)])
def test_the_interval_holds_the_true_ratio_nineteen_times_in_twenty(between, within):
    generator = np.random.default_rng(7)
    runs, held = 100, 0
    for _ in range(runs):
        own, base = (two_levels(generator, 5, 8, between, within) for _ in range(2))
        found = ratio_of(own * 1.1, base, "base", "latency")
        held += found.low <= 1.1 <= found.high
    # Two standard errors of a share of 0.95 among so many.
    assert held / runs >= 0.95 - 2 * math.sqrt(0.95 * 0.05 / runs)


def test_a_change_between_two_measurements_is_found_with_its_interval():
    generator = np.random.default_rng(3)
    old, new = (two_levels(generator, 5, 8, 0.005, 0.01) for _ in range(2))
    slower = change_of(old, new * 1.2)
    assert slower.low < 1.2 < slower.high
    assert slower.low > 1.1
    before, after = (scipy.stats.gmean(np.median(r, axis=1)) for r in (old, new))
    # Of an even number of turns, a median of logarithms is another mean of the middle two.
    assert slower.estimate == pytest.approx(1.2 * after / before, rel=1e-4)
    same = change_of(old, new)
    assert same.low < 1 < same.high


def test_measurements_of_other_lengths_can_be_compared():
    found = change_of([[1.0, 1.1, 1.0]], [[2.0, 2.0], [2.1, 2.1], [2.0, 2.1]])
    assert found.estimate == pytest.approx((2 * 2.1 * math.sqrt(2 * 2.1)) ** (1 / 3))
    assert 2 / 1.1 - 1e-9 <= found.low < found.estimate < found.high <= 2.1 + 1e-9


def test_outliers_are_told_from_the_median_of_their_own_turn():
    quiet = np.array([1.0, 1.01, 0.99, 1.02, 0.98, 1.0, 1.01, 0.99, 5.0])
    # The modified Z-score by scipy's scaled MAD, which divides by the same constant.
    scores = np.abs(quiet - np.median(quiet)) / scipy.stats.median_abs_deviation(
        quiet, scale="normal"
    )
    assert outlier_share([quiet], 3.5) == pytest.approx(np.mean(scores > 3.5)) == 1 / 9
    # A turn that is slow as a whole, since the clock went down, has none more.
    assert outlier_share([quiet, quiet * 3], 3.5) == pytest.approx(1 / 9)
    assert outlier_share([np.array([1.0, 1.0, 1.0, 7.0])], 3.5) == 0
    assert outlier_share([], 3.5) == 0
