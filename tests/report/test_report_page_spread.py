from statistics import NormalDist

import made_up_profiles as made_up
import numpy as np
import pytest

from nd_deploy.report.page.spread import Spread, common_reach


def spread_of(quantiles):
    return Spread(np.asarray(quantiles, float))


def normal(scale):
    inner = [scale * NormalDist().inv_cdf(p / 100) for p in range(1, 100)]
    return spread_of([2 * inner[0], *inner, 2 * inner[-1]])


def test_percentiles_are_taken_over_the_median():
    summary = made_up.summary(2e-3, cv=0.1)
    found = Spread.of(summary)
    assert found.shares[50] == 0
    assert found.tail == pytest.approx((summary.p99 - summary.p50) / summary.p50)


def test_the_density_of_normal_latencies_is_nearly_the_normal_density():
    places = np.linspace(-0.1, 0.1, 801)
    density = normal(0.02).density(places)
    expected = [NormalDist(0, 0.02).pdf(place) for place in places]
    np.testing.assert_allclose(density, expected, atol=0.12 * max(expected))
    assert density.sum() * (places[1] - places[0]) == pytest.approx(1, abs=1e-6)


def test_two_speeds_make_two_hills():
    quantiles = np.concatenate([np.linspace(-0.051, -0.049, 51), np.linspace(0.049, 0.051, 50)])
    places = np.linspace(-0.1, 0.1, 401)
    density = spread_of(quantiles).density(places)
    assert density[100] > 10 * density[200] < density[300]


def test_latencies_that_are_all_alike_have_a_density_too():
    density = spread_of(np.zeros(101)).density(np.linspace(-0.01, 0.01, 101))
    assert np.isfinite(density).all()
    assert density.argmax() == 50


def test_the_axis_reaches_as_far_as_the_longest_tail_unless_it_is_out_of_all_proportion():
    low, high = common_reach([normal(0.02), normal(0.03)])
    reach = 0.03 * NormalDist().inv_cdf(0.99)
    assert high == pytest.approx(1.15 * reach)
    assert low == pytest.approx(-1.15 * reach)
    hiccups = spread_of([*np.linspace(-0.01, 0.01, 95), *np.linspace(1, 90, 6)])
    tenth = hiccups.shares[90]
    assert common_reach([hiccups])[1] == pytest.approx(1.15 * 4 * tenth)
    assert common_reach([normal(0.02), normal(0.02), hiccups])[1] < 0.25
    assert common_reach([spread_of(np.zeros(101))]) == (-0.0115, 0.0115)
