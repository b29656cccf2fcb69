"""Matrices whose inverse root is known."""

import numpy as np


def orthogonal(size, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))[0]


def with_eigenvalues(values, seed=0):
    """A symmetric matrix that has these eigenvalues."""
    directions = orthogonal(len(values), seed)
    return directions @ np.diag(values) @ directions.T


def inverse_root(matrix):
    values, directions = np.linalg.eigh(matrix)
    return directions @ np.diag(values**-0.5) @ directions.T


def fading(size, correlation):
    """The correlation of pixels on a line, which fades with their distance."""
    place = np.arange(size)
    return correlation ** np.abs(place[:, None] - place)
