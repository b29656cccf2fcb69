import math

import numpy as np
import pytest
from whitened import with_eigenvalues

from nd_deploy.explain.charts import chosen_for_curves
from nd_deploy.explain.spectrum import LayerSpectrum, remark_on
from nd_deploy.fold.conditioning import eigenvalues


def layer(*values, name="conv", n_iter=5):
    return LayerSpectrum(name, "FastDeconv", np.array(values, np.float64), n_iter)


def test_the_eigenvalues_are_those_that_d_was_made_of():
    values = [0.25, 0.5, 1.0, 4.0]
    found = eigenvalues(with_eigenvalues(values))
    assert found.shape == (1, 4)
    np.testing.assert_allclose(found[0], values, rtol=1e-13)


def test_each_group_has_eigenvalues_of_its_own():
    groups = np.stack([with_eigenvalues([1, 2, 3], 1), with_eigenvalues([0.1, 7, 9], 2)])
    np.testing.assert_allclose(eigenvalues(groups), [[1, 2, 3], [0.1, 7, 9]], rtol=1e-12)


def test_rounding_that_makes_d_asymmetric_does_not_count():
    symmetric = with_eigenvalues([1.0, 2.0, 3.0])
    skew = np.array([[0, 1, 2], [-1, 0, 3], [-2, -3, 0]])
    np.testing.assert_allclose(eigenvalues(symmetric + skew), [[1, 2, 3]], rtol=1e-12)


def test_a_float32_d_is_worked_on_in_float64():
    deconv = with_eigenvalues(np.geomspace(1, 1e5, 20)).astype(np.float32)
    wide = np.linalg.eigvalsh((deconv.astype(np.float64) + deconv.T) / 2)
    found = eigenvalues(deconv)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found[0], wide, rtol=1e-9)


def test_a_d_that_is_never_read_has_no_spectrum():
    unread = LayerSpectrum("norm", "ChannelDeconv", eigenvalues(np.full((3, 3), np.nan)), 5)
    assert not unread.is_read
    assert math.isnan(unread.condition)
    assert remark_on(unread) == "D is never read"
    document = unread.as_dict()
    assert (document["read"], document["eigenvalues"], document["condition"]) == (False, None, None)
    assert document["features"] == 3


def test_the_condition_is_that_of_the_worst_matrix():
    assert layer([1, 2], [1, 5], [3, 6]).condition == 5
    assert layer([0.5, 0.5]).condition == 1


def test_a_d_that_is_not_positive_has_an_infinite_condition():
    broken = layer([-0.1, 2])
    assert broken.condition == math.inf
    assert remark_on(broken) == "D is not positive definite"


@pytest.mark.parametrize(("n_iter", "bound"), [(1, 1.5), (5, 7.59375), (None, None)])
def test_the_bound_is_known_where_the_number_of_steps_is(n_iter, bound):
    assert layer([1, 2], n_iter=n_iter).bound == bound


def test_remarks_name_what_is_odd_and_nothing_else():
    assert remark_on(layer([1, 1])) == "D is the identity: untrained"
    assert remark_on(layer([1, 8])) == "cond(D) is beyond its bound"
    assert remark_on(layer([1, 8], n_iter=None)) == ""
    assert remark_on(layer([1, 7])) == ""


def test_curves_are_those_of_the_largest_condition_in_the_network_s_order():
    layers = [layer([1, 1 + (7 * i) % 30], name=str(i)) for i in range(30)]
    kept = chosen_for_curves([*layers, layer([np.nan, np.nan]), layer([-1, 1])])
    expected = sorted(sorted(range(30), key=lambda i: -((7 * i) % 30))[:12])
    assert [int(found.layer) for found in kept] == expected
