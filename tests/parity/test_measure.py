import math

import numpy as np
import pytest

from nd_deploy.parity.measure import (
    backend_budget,
    relative_error,
    storage_budget,
    top1_agreement,
    worst_error,
)

ROUNDING = 2.0**-24


def test_the_error_is_the_largest_difference_over_the_largest_truth():
    truth = np.array([[1.0, -8.0], [2.0, 0.0]])
    assert relative_error(truth, truth) == 0
    assert relative_error(truth + np.array([[0, 0], [0, 0.5]]), truth) == 0.5 / 8
    assert relative_error(-truth, truth) == 2


def test_float32_is_compared_in_float64():
    truth = np.array([1.0, 1 / 3])
    assert relative_error(truth.astype(np.float32), truth) == abs(float(np.float32(1 / 3)) - 1 / 3)
    # In float32 this difference would overflow.
    large = np.array([3e38, -3e38], np.float32)
    assert relative_error(-large, large) == 2


def test_an_error_against_zero_is_absolute():
    assert relative_error(np.array([0.25]), np.zeros(1)) == 0.25
    assert relative_error(np.zeros(1), np.zeros(1)) == 0


def test_an_empty_output_is_equal():
    assert relative_error(np.zeros((0, 3)), np.zeros((0, 3))) == 0


def test_integers_and_booleans_are_compared_as_numbers():
    assert relative_error(np.array([1, 4]), np.array([1, 2])) == 1
    assert relative_error(np.array([True, False]), np.array([True, False])) == 0
    assert relative_error(np.array([200], np.uint8), np.array([100], np.uint8)) == 1


@pytest.mark.parametrize(
    ("actual", "truth"),
    [
        (np.zeros((2, 3)), np.zeros((3, 2))),
        (np.zeros(3), np.zeros((1, 3))),
        (np.array([1.0, math.nan]), np.array([1.0, 2.0])),
        (np.array([1.0, math.inf]), np.array([1.0, 2.0])),
        (np.array([1.0, 2.0]), np.array([1.0, math.nan])),
        (np.array([1.0, math.inf]), np.array([1.0, math.inf])),
    ],
)
def test_another_shape_or_a_number_that_is_not_finite_is_an_infinite_error(actual, truth):
    with np.errstate(invalid="ignore"):
        assert relative_error(actual, truth) == math.inf


def test_the_worst_output_counts():
    truth = [np.ones(2), np.full(2, 4.0)]
    assert worst_error([np.ones(2), np.full(2, 5.0)], truth) == 0.25
    assert worst_error([np.full(2, 1.5), np.full(2, 5.0)], truth) == 0.5
    assert worst_error(truth[:1], truth) == math.inf


def test_budgets_follow_pytorchs_own_error():
    assert storage_budget(1e-6)[0] == 2e-6
    assert backend_budget(1e-6)[0] == 4e-6
    assert "2 x PyTorch's own float32 error (1.0e-06)" in storage_budget(1e-6)[1]


def test_budgets_never_go_below_a_few_roundings():
    for error in (0.0, 1e-9):
        assert storage_budget(error)[0] == 4 * ROUNDING
        assert backend_budget(error)[0] == 16 * ROUNDING
    assert "4 float32 roundings" in storage_budget(0.0)[1]


def test_no_budget_lets_tf32_pass():
    # A product of numbers with 10 bits of mantissa is off by up to 2**-11.
    assert backend_budget(1e-6)[0] < 2**-11 / 10


def test_top1_agreement_is_the_share_of_samples_with_the_same_largest_logit():
    truth = np.array([[1.0, 2.0, 0.0], [5.0, 1.0, 0.0], [0.0, 0.0, 1.0], [3.0, 2.0, 1.0]])
    assert top1_agreement([truth * 2], [truth]) == 1.0
    assert top1_agreement([truth[:, ::-1]], [truth]) == 0.25


@pytest.mark.parametrize(
    "shapes", [[(2, 3), (2, 3)], [(2, 3, 4)], [(2, 1)], [(2,)]], ids=["two", "map", "one", "flat"]
)
def test_outputs_that_are_no_logits_have_no_top1(shapes):
    outputs = [np.ones(shape) for shape in shapes]
    assert top1_agreement(outputs, outputs) is None
