import numpy as np
import pytest

from nd_deploy.parity.inputs import reference_inputs


@pytest.mark.parametrize("shape", [(7,), (5, 9), (3, 32, 24), (2, 4, 5, 6)])
def test_inputs_have_the_shape_and_unit_variance_and_depend_on_the_seed_alone(shape):
    x = reference_inputs(shape, 5, seed=3)
    assert x.shape == (5, *shape)
    assert x.dtype == np.float32
    np.testing.assert_allclose(x.reshape(5, -1).std(axis=1), 1, rtol=1e-5)
    assert np.array_equal(x, reference_inputs(shape, 5, seed=3))
    assert not np.array_equal(x, reference_inputs(shape, 5, seed=4))


def neighbours_correlation(images):
    left, right = images[..., :-1].ravel(), images[..., 1:].ravel()
    return np.corrcoef(left, right)[0, 1]


def test_half_of_the_images_are_smooth_and_half_are_white():
    x = reference_inputs((3, 32, 32), 4, seed=0)
    assert neighbours_correlation(x[:2]) > 0.6
    assert abs(neighbours_correlation(x[2:])) < 0.1
    # One sample alone is an image.
    assert neighbours_correlation(reference_inputs((3, 32, 32), 1, seed=0)) > 0.6


def test_an_input_of_a_single_number_is_finite():
    assert np.isfinite(reference_inputs((1,), 3, seed=0)).all()
    assert np.isfinite(reference_inputs((1, 1, 1), 2, seed=0)).all()
