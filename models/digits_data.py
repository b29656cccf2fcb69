"""The handwritten digits that the demo network is trained and shown on, split once and for all."""

import numpy as np
from numpy.typing import NDArray

from nd_deploy import compat

_HELD_OUT = 360
_INK = 16  # the darkest pixel of the data set

Split = tuple[NDArray[np.float32], NDArray[np.int64]]


def training() -> Split:
    """Returns the images and labels to train on: (1437, 1, 8, 8) float32 in [0, 1], (1437,).

    Raises:
        MissingDependencyError: scikit-learn is not installed.
    """
    images, labels = _shuffled()
    return images[_HELD_OUT:], labels[_HELD_OUT:]


def held_out() -> Split:
    """Returns the images and labels never trained on: (360, 1, 8, 8) float32 in [0, 1], (360,).

    Raises:
        MissingDependencyError: scikit-learn is not installed.
    """
    images, labels = _shuffled()
    return images[:_HELD_OUT], labels[:_HELD_OUT]


def _shuffled() -> Split:
    data = compat.require("sklearn.datasets", "demo").load_digits()
    # The legacy generator is the one whose stream numpy keeps the same in every version.
    order = np.random.RandomState(0).permutation(len(data.target))
    images = (data.images[order, None] / _INK).astype(np.float32)
    return images, data.target[order].astype(np.int64)
