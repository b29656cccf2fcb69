"""Bundles on disk to report on."""

import numpy as np
from tiny_bundle import decisions, model, parity

from nd_deploy.bundle import write_bundle


def bundle_of(path, **changes):
    """Write a bundle of a tiny network, with whatever is to differ."""
    arguments = {
        "model": model(),
        "network": "tiny",
        "decisions": decisions(),
        "warnings": ["layers.0: untrained"],
        "parity": parity(),
        "reference": {"input/image": np.zeros((4, 1, 2, 2), np.float32)},
    }
    return write_bundle(path, **(arguments | changes))
