"""Inputs to compare on where the user has given none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def reference_inputs(shape: Sequence[int], samples: int, seed: int) -> NDArray[np.float32]:
    """Random inputs of unit variance, half of them smooth over the positions, half white.

    Smooth ones are like images, in which the directions that D amplifies are weak; white ones
    excite every direction alike.

    Args:
        shape: of one sample, such as (C, H, W) or (F,).
        samples: how many.
        seed: of the generator.

    Returns:
        (samples, *shape), float32.
    """
    values = np.random.default_rng(seed).standard_normal((samples, *shape))
    smooth = values[: (samples + 1) // 2]
    for axis in range(2, values.ndim):
        smooth += np.cumsum(smooth, axis=axis)
    axes = tuple(range(1, values.ndim))
    scale = values.std(axis=axes, keepdims=True)
    return np.asarray(values / np.where(scale > 0, scale, 1), dtype=np.float32)
