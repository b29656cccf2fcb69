"""How far D is from the identity, and how far Newton-Schulz steps can take it."""

import numpy as np
import pytest
from dense import PROFILE, inverse_root, normal
from hypothesis import given
from hypothesis import strategies as st

from nd_deploy.fold.algebra import invert
from nd_deploy.fold.conditioning import asymmetry, condition_number, conditioning_bound

seeds = st.integers(0, 2**32 - 1)


@st.composite
def covariances(draw):
    """Of a few samples in many dimensions too, and of features on very different scales."""
    features, rows = draw(st.integers(1, 8)), draw(st.integers(1, 12))
    spread = 10.0 ** draw(st.integers(-3, 3))
    x = normal(draw(seeds), rows, features) * np.geomspace(1, spread, features)
    return x.T @ x / rows + draw(st.sampled_from([1e-5, 1e-2])) * np.eye(features)


@PROFILE
@given(covariances())
def test_the_condition_number_of_a_positive_matrix_is_its_singular_values_ratio(A):
    assert condition_number(A) == pytest.approx(np.linalg.cond(A), rel=1e-4)


def test_the_condition_number_of_a_stack_is_its_worst():
    stack = np.stack([np.diag([1.0, 3.0]), np.diag([5.0, 0.5]), np.eye(2)])
    assert condition_number(stack) == pytest.approx(10)


@pytest.mark.parametrize(
    "D",
    [[[1, 0], [0, -1]], [[0, 0], [0, 0]], [[1, 0], [0, np.nan]], [[np.inf, 0], [0, 1]]],
    ids=["indefinite", "zero", "NaN", "infinite"],
)
def test_a_matrix_that_is_not_positive_has_an_infinite_condition_number(D):
    assert condition_number(np.array(D, dtype=float)) == float("inf")


def test_asymmetry_is_relative_to_the_largest_entry():
    assert asymmetry(np.array([[4.0, 1.0], [1.0, 2.0]])) == 0
    assert asymmetry(np.array([[4.0, 1.5], [1.0, 2.0]])) == pytest.approx(0.125)
    assert asymmetry(np.stack([np.eye(2), [[1, 1], [0, 1]]])) == pytest.approx(1)
    assert asymmetry(np.zeros((2, 2))) == 0


@PROFILE
@given(covariances(), covariances(), st.integers(1, 15))
def test_newton_schulz_steps_and_their_running_average_keep_the_bound(A, other, steps):
    bound = conditioning_bound(steps) * (1 + 1e-9)
    D = inverse_root(A, steps)
    assert np.linalg.cond(D) <= bound
    running = np.eye(len(A))
    for covariance in (A, np.diag(np.resize(np.diag(other), len(A))), A):
        running = 0.9 * running + 0.1 * inverse_root(covariance, steps)
        eigenvalues = np.linalg.eigvalsh((running + running.T) / 2)
        assert eigenvalues[-1] <= bound * max(eigenvalues[0], 0)


def test_the_bound_is_reached():
    """One feature is nearly constant, as three equal colour channels make two of three."""
    D = inverse_root(np.diag([1.0, 1e-12]), 10)
    assert np.linalg.cond(D) == pytest.approx(conditioning_bound(10), rel=1e-3)


def test_a_matrix_without_an_inverse_inverts_to_nan():
    assert np.isnan(invert(np.ones((2, 2)))).all()
    assert np.array_equal(invert(np.diag([2.0, 4.0])), np.diag([0.5, 0.25]))
