"""ONNX attributes as numbers."""

from __future__ import annotations

import numpy as np


def written_value(attribute: float) -> float:
    """The number that an ONNX float attribute was written as.

    ONNX keeps float attributes in float32, so an epsilon of 1e-5 comes back as 9.99999974e-06. The
    shortest decimal that rounds to the same float32 is what the author of the network wrote, and
    with it a float64 computation agrees with PyTorch's.

    Args:
        attribute: as it was read from a model.

    Returns:
        The number in float64.
    """
    return float(str(np.float32(attribute)))
