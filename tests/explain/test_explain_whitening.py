import numpy as np
import pytest
import torch
from whitened import inverse_root, with_eigenvalues

from nd_deploy.explain.whitening import (
    draw_patches,
    exact_inverse_root,
    newton_schulz,
    statistics_of,
)


def generator(seed=0):
    return np.random.default_rng(seed)


def test_patches_are_those_that_pytorch_unfolds():
    image = generator().normal(size=(3, 7, 9))
    expected = torch.nn.functional.unfold(torch.from_numpy(image)[None], 5)[0].T
    np.testing.assert_array_equal(draw_patches(image, 5, 1000, generator()), expected)


def test_drawn_patches_are_patches_of_the_image_and_all_different():
    image = generator().normal(size=(2, 12, 10))
    every = {row.tobytes() for row in draw_patches(image, 3, 1000, generator())}
    drawn = draw_patches(image, 3, 30, generator(4))
    assert drawn.shape == (30, 18)
    assert len({row.tobytes() for row in drawn} & every) == 30
    np.testing.assert_array_equal(drawn, draw_patches(image, 3, 30, generator(4)))
    assert not np.array_equal(drawn, draw_patches(image, 3, 30, generator(5)))


def test_the_covariance_is_numpy_s():
    patches = generator().normal(size=(50, 6)) @ generator(1).normal(size=(6, 6)) + 3
    found = statistics_of(patches)
    assert found.count == 50
    np.testing.assert_allclose(found.mean, patches.mean(0))
    np.testing.assert_allclose(found.covariance, np.cov(patches.T, bias=True), rtol=1e-12)


def test_statistics_of_parts_come_together_as_those_of_the_whole():
    parts = [generator(i).normal(size=(size, 5)) + 10 * i for i, size in enumerate((3, 40, 1))]
    first, *rest = (statistics_of(part) for part in parts)
    for part in rest:
        first = first.merged(part)
    whole = np.concatenate(parts)
    assert first.count == 44
    np.testing.assert_allclose(first.mean, whole.mean(0), rtol=1e-12)
    np.testing.assert_allclose(first.covariance, np.cov(whole.T, bias=True), rtol=1e-11)


def test_the_exact_root_whitens():
    covariance = with_eigenvalues(np.geomspace(1e-4, 10, 12))
    found = exact_inverse_root(covariance, 1e-3)
    np.testing.assert_allclose(found, inverse_root(covariance + 1e-3 * np.eye(12)), rtol=1e-8)
    np.testing.assert_allclose(
        found @ (covariance + 1e-3 * np.eye(12)) @ found, np.eye(12), atol=1e-11
    )


def test_a_covariance_without_full_rank_has_the_root_of_eps_where_nothing_varies():
    flat = generator().normal(size=(3, 8))
    values = np.linalg.eigvalsh(exact_inverse_root(statistics_of(flat).covariance, 1e-4))
    np.testing.assert_allclose(values[-6:], 100, rtol=1e-6)


@pytest.mark.parametrize("n_iter", [1, 5, 15])
def test_newton_schulz_steps_act_on_every_eigenvalue_by_itself(n_iter):
    variances, eps = np.geomspace(1e-3, 2, 10), 1e-4
    scale = np.sqrt(((variances + eps) ** 2).sum())
    y, z = (variances + eps) / scale, np.ones(10)
    for _ in range(n_iter):
        factor = (3 - z * y) / 2
        y, z = y * factor, z * factor
    found = newton_schulz(with_eigenvalues(variances), eps, n_iter)
    np.testing.assert_allclose(found, with_eigenvalues(z / np.sqrt(scale)), rtol=1e-9, atol=1e-10)


def test_many_newton_schulz_steps_arrive_at_the_exact_root():
    covariance = with_eigenvalues(np.geomspace(1e-2, 1, 9))
    np.testing.assert_allclose(
        newton_schulz(covariance, 1e-5, 30),
        exact_inverse_root(covariance, 1e-5),
        rtol=1e-8,
        atol=1e-8,
    )


def test_few_steps_amplify_by_no_more_than_their_bound():
    values = np.linalg.eigvalsh(newton_schulz(with_eigenvalues([1e-9, 1e-3, 1.0]), 1e-12, 6))
    assert values[-1] / values[0] <= 1.5**6
