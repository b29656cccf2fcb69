"""What the folds are held against: every matrix formed, every Kronecker product written out."""

import numpy as np
import torch
from hypothesis import settings

PROFILE = settings(max_examples=40, deadline=None, derandomize=True)


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def close(found, expected):
    expected = np.asarray(expected)
    assert found.shape == expected.shape
    assert found.dtype == np.float64
    scale = max(1.0, np.abs(expected).max(initial=0.0))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * scale)


def inverse_root(covariance, steps):
    """Newton-Schulz from the identity, (..., F, F)."""
    eye = np.eye(covariance.shape[-1])
    scale = np.linalg.norm(covariance, axis=(-2, -1), keepdims=True)
    Y, Z = covariance / scale, eye
    for _ in range(steps):
        T = (3 * eye - Z @ Y) / 2
        Y, Z = Y @ T, T @ Z
    return Z / np.sqrt(scale)


def channel_matrix(D, channels, scale=1.0):
    """blockdiag(D ⊗ I_G, scale I)."""
    groups = channels // len(D)
    M = scale * np.eye(channels)
    if groups:
        M[: len(D) * groups, : len(D) * groups] = np.kron(D, np.eye(groups))
    return M


def channel_mean(mu, channels, leftover=0.0):
    groups = channels // len(mu)
    m = np.full(channels, leftover)
    m[: len(mu) * groups] = np.kron(mu, np.ones(groups))
    return m


def per_channel(x, M, m):
    """M (x - m) at each position of (N, C, ...)."""
    centred = np.moveaxis(x, 1, -1) - m
    return np.moveaxis(centred @ M.T, -1, 1)


def conv(x, weight, bias, **geometry):
    convolve = {3: torch.conv1d, 4: torch.conv2d, 5: torch.conv3d}[np.ndim(weight)]
    tensors = (None if t is None else torch.from_numpy(np.ascontiguousarray(t)) for t in (x, bias))
    x, bias = tensors
    return convolve(x, torch.from_numpy(np.ascontiguousarray(weight)), bias, **geometry).numpy()
