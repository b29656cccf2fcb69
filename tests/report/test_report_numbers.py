import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nd_deploy.report.numbers import interval, percent, significant, time_unit

POSITIVE = st.floats(1e-9, 1e9)


@given(POSITIVE)
def test_a_number_keeps_three_digits(value):
    text = significant(value)
    assert "e" not in text
    assert float(text) == pytest.approx(value, rel=0.00501)
    assert len(text.replace(".", "").lstrip("0")) == max(3, math.floor(math.log10(float(text))) + 1)


def test_a_number_that_rounds_up_has_no_digit_too_many():
    assert [significant(value) for value in (9.996, 99.96, 999.6, 0)] == [
        "10.0",
        "100",
        "1000",
        "0",
    ]


def test_a_number_that_is_not_finite_is_named():
    assert [significant(value) for value in (math.nan, math.inf)] == ["nan", "inf"]


@given(POSITIVE, st.floats(0.0001, 0.5))
def test_the_ends_of_an_interval_are_told_apart(estimate, share):
    low, high = estimate * (1 - share), estimate * (1 + share)
    numbers = re.findall(r"[\d.]+", interval(estimate, low, high))
    assert [float(n) for n in numbers] == pytest.approx([estimate, low, high], abs=0.00501)
    assert numbers[1] != numbers[2] or high - low < 1e-6


def test_an_end_is_shown_as_1_only_if_it_is():
    assert interval(1.01, 1.0004, 1.02) == "1.0100 [1.0004, 1.0200]"
    assert interval(1.01, 1.0, 1.02) == "1.01 [1.00, 1.02]"


def test_an_interval_without_width_or_bounds_is_shown():
    assert interval(0.012, 0.012, 0.012) == "0.0120 [0.0120, 0.0120]"
    assert interval(1.2, 0.0, math.inf) == "1.20 [0.00, inf]"
    assert interval(math.nan, math.nan, math.nan) == "nan [nan, nan]"


@pytest.mark.parametrize(
    ("times", "unit", "shown"),
    [([2e-3, 0.5], "ms", "2.00"), ([3.4e-4], "ms", "0.340"), ([3.4e-5, 0.1], "us", "34.0")],
)
def test_the_shortest_time_chooses_the_unit_of_all(times, unit, shown):
    chosen = time_unit(times)
    assert (chosen.name, chosen.of(times[0])) == (unit, shown)


def test_a_share_is_shown_in_percent():
    assert [percent(share) for share in (0.4123, 0.0042, 1.05)] == ["41 %", "0.42 %", "105 %"]
