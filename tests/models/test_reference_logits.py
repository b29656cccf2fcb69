"""Checkpoints trained by the authors' scripts, against the logits of the authors' eval()."""

from pathlib import Path

import numpy as np
import pytest
import torch

from nd_deploy import models

REFERENCE = Path(__file__).parents[1] / "reference"


@pytest.fixture(params=["mlp", "mobilev2_cd"])
def case(request):
    checkpoint = torch.load(REFERENCE / f"{request.param}.pth.tar", weights_only=True)
    arch, state_dict = checkpoint["arch"], checkpoint["state_dict"]
    network = models.build(arch, **models.options_from_state_dict(arch, state_dict))
    network.load_state_dict(state_dict, strict=True)
    with np.load(REFERENCE / f"{request.param}.npz") as arrays:
        return network.eval(), torch.from_numpy(arrays["x"]), dict(arrays)


@torch.no_grad()
def error(network, x, logits):
    return np.abs(network(x).numpy() - logits).max() / np.abs(logits).max()


def test_float64_logits_are_the_published_ones(case):
    network, x, arrays = case
    assert error(network.double(), x.double(), arrays["logits_f64"]) < 1e-12


def test_float32_logits_differ_by_rounding_only(case):
    network, x, arrays = case
    official = arrays["logits_f32"] - arrays["logits_f64"]
    rounding = np.abs(official).max() / np.abs(arrays["logits_f64"]).max()
    assert error(network, x, arrays["logits_f64"]) < 2 * rounding
    assert error(network, x, arrays["logits_f32"]) < 3 * rounding
