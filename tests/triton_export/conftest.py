import numpy as np
import pytest
from tiny_bundle import decisions, model, parity

from nd_deploy.bundle import write_bundle
from nd_deploy.parity.report import Gate, ParityReport


@pytest.fixture
def make_bundle(tmp_path):
    """Write a bundle of a tiny model, with whatever is to differ."""

    def make(name="tiny", **changes):
        arguments = {
            "model": model(),
            "network": "tiny",
            "decisions": decisions(),
            "warnings": [],
            "parity": parity(),
            "reference": {"input/image": np.zeros((4, 1, 2, 2), np.float32)},
            "labels": ("cat", "dog", "[red]"),
        }
        return write_bundle(tmp_path / name, **(arguments | changes))

    return make


@pytest.fixture
def bundle(make_bundle):
    return make_bundle().path


@pytest.fixture
def served_bundle(make_bundle):
    """One that the server finds as it was: its reference has the outputs too."""
    images = np.random.default_rng(1).standard_normal((4, 1, 2, 2)).astype(np.float32)
    gate = Gate("backend", "a with b", 1e-7, 1e-6, "16 roundings")
    reference = {
        "input/image": images,
        "float64/0": scores(images.astype(np.float64)),
        "float32/0": scores(images),
    }
    return make_bundle(reference=reference, parity=ParityReport([gate], 1.0, 4))


def scores(images):
    """What the tiny model computes: the sum of the pixels times 1, 2 and -1."""
    return images.sum((1, 2, 3))[:, None] * np.array([1, 2, -1], images.dtype)
