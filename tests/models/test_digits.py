"""The demo's network, its data and the checkpoint that is shipped."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from nd_deploy import models
from nd_deploy.nd.layers import ChannelDeconv, Delinear, FastDeconv

CHECKPOINT = Path(models.__file__).parent / "checkpoints" / "digits.pth.tar"


@pytest.fixture(scope="module")
def checkpoint():
    return torch.load(CHECKPOINT, weights_only=True)


@pytest.fixture(scope="module")
def network(checkpoint):
    network = models.build("digits")
    network.load_state_dict(checkpoint["state_dict"], strict=True)
    return network.eval()


def test_the_split_keeps_every_digit_once():
    parts = [models.digits_data.training(), models.digits_data.held_out()]
    for (images, labels), count in zip(parts, (1437, 360), strict=True):
        assert images.shape == (count, 1, 8, 8)
        assert (images.dtype, labels.dtype) == (np.float32, np.int64)
        assert images.min() == 0
        assert images.max() == 1
    together = np.concatenate(
        [
            np.column_stack([images.reshape(len(images), -1) * 16, labels])
            for images, labels in parts
        ]
    )
    data = load_digits()
    everything = np.column_stack([data.data, data.target])
    np.testing.assert_array_equal(together[np.lexsort(together.T)],
                                  everything[np.lexsort(everything.T)])  # fmt: skip


def test_the_checkpoint_has_the_layout_of_an_official_one(checkpoint):
    assert {key: type(value).__name__ for key, value in checkpoint.items()} == {
        "state_dict": "OrderedDict", "epoch": "int", "arch": "str", "best_acc": "float",
        "train_losses": "list", "optimizer": "dict", "valid_losses": "list", "test_losses": "list",
    }  # fmt: skip
    assert checkpoint["arch"] == "digits"
    assert CHECKPOINT.stat().st_size < 1e6


def test_the_checkpoint_reads_more_than_97_percent_of_digits_it_never_saw(network):
    images, labels = models.digits_data.held_out()
    with torch.no_grad():
        predicted = network(torch.from_numpy(images)).argmax(1).numpy()
    assert (predicted == labels).mean() > 0.97


def test_the_running_statistics_have_settled(network):
    """A training step over all images measures about the statistics that were averaged."""
    images, _ = models.digits_data.training()
    trained = models.build("digits")
    trained.load_state_dict(network.state_dict())
    with torch.no_grad():
        whole = trained(torch.from_numpy(images))
        running = network(torch.from_numpy(images))
    assert (whole.argmax(1) == running.argmax(1)).float().mean() > 0.99


def test_the_network_holds_one_of_every_nd_layer(network):
    layers = list(network.modules())
    assert sum(isinstance(layer, ChannelDeconv) for layer in layers) == 1
    assert sum(isinstance(layer, Delinear) for layer in layers) == 1
    convs = [layer for layer in layers if isinstance(layer, FastDeconv)]
    assert any(c.in_channels == 1 and c.kernel_size == (3, 3) for c in convs)
    assert any(c.stride == (2, 2) and c.block < c.in_channels for c in convs)
    assert any(c.groups == c.in_channels > 1 for c in convs)
