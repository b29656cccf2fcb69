"""The batches that a GPU is made ready for.

Convolutions are tuned, and CUDA graphs captured, for one shape. So what is run there are batches of
a few sizes, and others are filled up. A CPU needs neither, and runs every batch as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray


def buckets_up_to(largest: int) -> tuple[int, ...]:
    """The powers of two below the largest batch, and that."""
    return (*(2**power for power in range((largest - 1).bit_length())), largest)


def filled_up(inputs: Mapping[str, NDArray[Any]], size: int) -> dict[str, NDArray[Any]]:
    """Inputs (N, ...) as a batch of `size`, which is N or more, with zeros behind."""
    import numpy as np

    filled = {}
    for name, array in inputs.items():
        filled[name] = np.zeros((size, *array.shape[1:]), array.dtype)
        filled[name][: len(array)] = array
    return filled


def repeated(inputs: Mapping[str, NDArray[Any]], size: int) -> dict[str, NDArray[Any]]:
    """Inputs (N, ...) as a batch of `size`, repeated or cut off as need be."""
    import numpy as np

    return {name: np.resize(array, (size, *array.shape[1:])) for name, array in inputs.items()}
