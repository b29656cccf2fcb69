import numpy as np
import torch
from torch import nn

from nd_deploy.explain.network import spectra_of
from nd_deploy.nd.layers import ChannelDeconv, Delinear, FastDeconv
from nd_deploy.nd.recognise import recognise


def spread(layer, seed=0):
    """Give a layer a D with random eigenvalues, and tell which."""
    shape = layer.running_deconv.shape
    random = np.random.default_rng(seed)
    values = np.sort(random.uniform(0.5, 3, (*shape[:-2], shape[-1])), axis=-1)
    directions, _ = np.linalg.qr(random.normal(size=shape))
    matrices = directions * values[..., None, :] @ directions.swapaxes(-1, -2)
    layer.running_deconv.copy_(torch.from_numpy(matrices))
    return values.reshape(-1, shape[-1])


def network():
    layers = nn.ModuleDict(
        {
            "norm": ChannelDeconv(4),
            "plain": nn.Conv2d(6, 6, 3),
            "grouped": FastDeconv(6, 4, 3, groups=2, n_iter=7),
            "conv": FastDeconv(8, 4, 3, block=4),
            "linear": Delinear(6, 3, block=3),
        }
    )
    layers["norm"].num_batches_tracked.fill_(1)
    return layers


def test_every_d_has_the_spectrum_that_it_was_given():
    module = network()
    expected = {
        name: spread(layer, index)
        for index, (name, layer) in enumerate(module.items())
        if name != "plain"
    }
    found = spectra_of(module, recognise(module)).layers
    assert [layer.layer for layer in found] == ["norm", "grouped", "conv", "linear"]
    kinds = [layer.kind for layer in found]
    assert kinds == ["ChannelDeconv", "FastDeconv", "FastDeconv", "Delinear"]
    assert [layer.n_iter for layer in found] == [5, 7, 5, 5]
    for layer in found:
        np.testing.assert_allclose(layer.eigenvalues, expected[layer.layer], rtol=1e-5)


def test_the_first_convolution_is_the_first_that_whitens_patches():
    module = network()
    for index, name in enumerate(("grouped", "conv")):
        spread(module[name], index)
    first = spectra_of(module, recognise(module)).first
    assert (first.layer, first.channels, first.kernel, first.groups) == ("grouped", 6, (3, 3), 2)
    np.testing.assert_array_equal(first.deconv, module["grouped"].running_deconv.numpy())


def test_the_record_does_not_change_with_the_network():
    layer = FastDeconv(3, 2, 3)
    spread(layer)
    first = spectra_of(layer, recognise(layer)).first
    before = first.deconv.copy()
    layer.running_deconv.zero_()
    np.testing.assert_array_equal(first.deconv, before)


def test_blocks_that_share_d_are_counted():
    layer = FastDeconv(8, 2, 3, block=2)
    assert spectra_of(layer, recognise(layer)).first.shared_by == 4


def test_a_network_without_convolutions_has_spectra_alone():
    module = nn.Sequential(Delinear(4, 4), Delinear(4, 2))
    found = spectra_of(module, recognise(module))
    assert len(found.layers) == 2
    assert found.first is None


def test_a_channel_deconv_of_leftover_channels_alone_is_never_read():
    layer = ChannelDeconv(16)
    layer.num_batches_tracked.fill_(1)
    layer.running_deconv.fill_(torch.nan)
    layer.running_mean1.fill_(torch.nan)
    (found,) = spectra_of(layer, recognise(layer)).layers
    assert not found.is_read
    assert found.eigenvalues.shape == (1, 16)


def test_a_layer_in_half_precision_is_read_as_well():
    layer = FastDeconv(3, 2, 3)
    values = spread(layer)
    found = spectra_of(layer.half(), recognise(layer))
    np.testing.assert_allclose(found.layers[0].eigenvalues, values, rtol=5e-3)
    assert found.first.deconv.dtype == np.float32
