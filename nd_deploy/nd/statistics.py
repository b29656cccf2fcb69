"""What the layers measure on a training batch, and how they remember it."""

import math

import torch
from torch import Tensor

from nd_deploy.errors import InputError


def newton_schulz(A: Tensor, n_iter: int) -> Tensor:
    """Approximates A^(-1/2) with coupled Newton-Schulz steps.

    Y starts at A over its Frobenius norm and Z at the identity; a step multiplies both by
    T = (3I - ZY) / 2, and Z tends to the inverse root of the scaled A (Ye et al., ICLR 2020,
    "Network Deconvolution"). The spectrum of every T lies in [1, 1.5), hence
    cond(result) <= 1.5^n_iter whatever A is.

    Args:
        A: symmetric and positive, (F, F) or a batch (..., F, F), floating point.
        n_iter: the number of steps; this few is part of what a network was trained with.

    Returns:
        A tensor of the shape and dtype of A, through which gradients flow.
    """
    scale: Tensor = torch.linalg.matrix_norm(A, keepdim=True)
    identity = torch.eye(A.shape[-1], dtype=A.dtype, device=A.device)
    Y = A / scale
    Z = identity.expand_as(A)
    for _ in range(n_iter):
        T = 1.5 * identity - 0.5 * (Z @ Y)
        Y = Y @ T
        Z = T @ Z
    return Z / scale.sqrt()


def whitening(samples: Tensor, eps: float, n_iter: int) -> Tensor:
    """Computes the D that whitens samples: (X^T X / rows + eps I)^(-1/2).

    Args:
        samples: one sample a row, (rows, F) or a batch (..., rows, F). The caller subtracts the
            mean or, as `ChannelDeconv` does, leaves it in.
        eps: what is added to the diagonal.
        n_iter: the Newton-Schulz steps.

    Returns:
        D, (F, F) or (..., F, F), in the dtype of the samples.
    """
    identity = torch.eye(samples.shape[-1], dtype=samples.dtype, device=samples.device)
    moment = samples.mT @ samples / samples.shape[-2]
    return newton_schulz(moment + eps * identity, n_iter)


def average(running: Tensor, batch: Tensor, momentum: float) -> None:
    """Moves a running statistic in place towards that of a batch, which broadcasts to it."""
    with torch.no_grad():
        running.mul_(1 - momentum).add_(batch, alpha=momentum)


def block_size(block: int, channels: int) -> int:
    """Returns the block that a FastDeconv or Delinear asked for `block` uses on `channels`.

    Raises:
        InputError: `block` is below 1.
    """
    at_least_one("block", block)
    return channels if block > channels else math.gcd(block, channels)


def at_least_one(name: str, value: int) -> int:
    """Returns an argument that counts something.

    Raises:
        InputError: it is below 1.
    """
    if value < 1:
        raise InputError(f"{name} is {value}", f"give a {name} of at least 1")
    return value
