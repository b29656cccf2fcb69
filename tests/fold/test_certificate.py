"""What a fold's record says about the numbers that the folded layer will produce."""

import math

import numpy as np
import pytest
from dense import PROFILE, inverse_root, normal
from hypothesis import given
from hypothesis import strategies as st

from nd_deploy.fold.certificate import certify


def whitened_layer(seed, features, outputs, steps):
    """W, D and inputs x whose D x is close to white, as in a trained network."""
    mixing = normal(seed, features, features) * np.geomspace(1, 1e-2, features)
    D = inverse_root(mixing @ mixing.T + 1e-5 * np.eye(features), steps)
    x = np.linalg.solve(D, normal(seed + 1, features, 4000))
    return normal(seed + 2, outputs, features), D, x


def certificate(weight, D, **options):
    return certify(weight, weight @ D, D, lambda rows: rows @ np.linalg.inv(D), **options)


@PROFILE
@given(
    st.integers(0, 2**31),
    st.integers(2, 24),
    st.integers(2, 12),
    st.sampled_from([3, 5, 10, 15]),
    st.sampled_from([np.float16, np.float32]),
)
def test_the_storage_error_predicts_the_output_error(seed, features, outputs, steps, storage):
    weight, D, x = whitened_layer(seed, features, outputs, steps)
    folded = weight @ D
    truth = folded @ x
    error = np.linalg.norm(folded.astype(storage).astype(float) @ x - truth) / np.linalg.norm(truth)
    predicted = certificate(weight, D, storage=storage).storage_error
    assert error / 2 <= predicted <= error * 2


def test_the_plain_weight_error_does_not_predict_it():
    weight, D, x = whitened_layer(0, 24, 64, 15)
    folded = weight @ D
    stored = folded.astype(np.float16).astype(float)
    error = np.linalg.norm((stored - folded) @ x) / np.linalg.norm(folded @ x)
    plain = np.linalg.norm(stored - folded) / np.linalg.norm(folded)
    assert error > 4 * plain
    assert certificate(weight, D, storage=np.float16).storage_error == pytest.approx(error, rel=0.1)


def test_growth_and_headroom_are_of_the_largest_weights():
    weight, D = np.array([[1.0, -4.0], [2.0, 0.5]]), np.diag([8.0, 3.0])
    found = certificate(weight, D)
    assert found.growth == 4
    assert found.largest == 16
    assert found.float16_headroom == 65504 / 16
    assert found.condition == pytest.approx(8 / 3)
    assert found.storage_error == 0


def test_a_weight_that_overflows_float16_has_headroom_under_one():
    assert certificate(np.eye(2), np.diag([70000.0, 1.0])).float16_headroom < 1


def test_the_condition_is_the_worst_groups():
    D = np.stack([np.diag([1.0, 2.0]), np.diag([1.0, 5.0])])
    weight = normal(0, 2, 3, 2)
    found = certify(weight, weight @ D, D, lambda rows: rows @ np.linalg.inv(D))
    assert found.condition == pytest.approx(5)


def test_a_sample_of_the_outputs_tells_the_storage_error_of_all():
    weight, D, _ = whitened_layer(3, 12, 1000, 5)
    exact, sampled = certificate(weight, D), certificate(weight, D, rows_apart=True)
    assert sampled.storage_error == pytest.approx(exact.storage_error, rel=0.1)
    assert (sampled.largest, sampled.growth) == (exact.largest, exact.growth)


def test_a_float32_weight_is_measured_against_its_float64_fold():
    weight, D, _ = whitened_layer(4, 6, 7, 5)
    single = weight.astype(np.float32)
    exact = certificate(single.astype(np.float64), D)
    found = certify(single, single @ D, D, lambda rows: rows @ np.linalg.inv(D))
    assert found.as_dict() == pytest.approx(exact.as_dict())


def test_a_weight_of_zeros_has_no_error_and_no_growth():
    found = certificate(np.zeros((2, 2)), np.eye(2))
    assert (found.growth, found.largest, found.storage_error) == (0, 0, 0)


def test_the_record_is_plain_numbers_by_name():
    fields = certificate(normal(0, 3, 4), np.eye(4)).as_dict()
    assert list(fields) == ["growth", "largest", "float16_headroom", "condition", "storage_error"]
    assert all(type(value) is float and math.isfinite(value) for value in fields.values())
