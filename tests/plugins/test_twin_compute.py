"""The arithmetic of the Python plugins, against the layers' own forward and float64 numpy."""

import numpy as np
import pytest
import torch

from nd_deploy.errors import InputError
from nd_deploy.nd.layers import ChannelDeconv, FastDeconv
from nd_deploy.plugins.twin_compute import (
    channel_deconv,
    channel_deconv_dynamic,
    fast_deconv_dynamic,
)

# One rounding of the result, and in float32 some of the arithmetic.
ROUNDING = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 6e-4, torch.bfloat16: 5e-3}
TYPES = pytest.mark.parametrize("dtype", ROUNDING, ids=lambda dtype: str(dtype).split(".")[1])


def correlated(shape, seed=0):
    """Values with a mean whose channels depend on each other, in float64."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(shape[1], shape[1], generator=generator, dtype=torch.float64)
    x = torch.randn(*shape, generator=generator, dtype=torch.float64) + 0.7
    return torch.einsum("nc...,cd->nd...", x, mixing / shape[1] ** 0.5)


def assert_close(found, expected, dtype, loosened=1.0):
    assert found.dtype == dtype
    assert found.shape == expected.shape
    error = (found.double() - expected).abs().max() / expected.abs().max()
    assert error <= ROUNDING[dtype] * loosened, f"off by {error:.1e}"


def frozen(channels, block, dtype=torch.float64):
    """A ChannelDeconv in eval mode and float64, and its parameters as an op reads them."""
    layer = ChannelDeconv(block).double()
    layer(correlated((9, channels, 8, 8), seed=1))
    layer.eval()
    wide = [layer.running_mean1[:, 0], layer.running_deconv]
    if channels % block:
        wide += [layer.running_mean2[0], (layer.running_var[0] + layer.eps).rsqrt()]
    kind = torch.float64 if dtype == torch.float64 else torch.float32
    return layer, [value.to(kind) for value in wide]


@TYPES
@pytest.mark.parametrize("relu", [False, True], ids=["plain", "relu"])
@pytest.mark.parametrize(
    ("shape", "block"),
    [((2, 12, 5, 7), 4), ((2, 14, 5, 7), 4), ((3, 6, 2, 2), 64), ((5, 10), 4), ((2, 8, 3), 8)],
    ids=["blocks", "leftover", "all left over", "matrix", "one block of a sequence"],
)
def test_frozen_channels_are_whitened_as_the_layer_does(dtype, relu, shape, block):
    layer, parameters = frozen(shape[1], block, dtype)
    x = correlated(shape).to(dtype)
    maps = x.double() if x.dim() != 3 else x.double()[..., None]
    expected = layer(maps).reshape(shape)
    expected = expected.relu() if relu else expected
    assert_close(channel_deconv(x, *parameters, relu=relu), expected, dtype)


def test_frozen_channels_equal_a_kronecker_product_in_float64_numpy():
    rng = np.random.default_rng(0)
    x, mean, D = rng.normal(size=(3, 12, 4, 5)), rng.normal(size=4), rng.normal(size=(4, 4))
    M = np.kron(D, np.eye(3))
    expected = np.einsum("cd,ndhw->nchw", M, x - np.kron(mean, np.ones(3))[:, None, None])
    found = channel_deconv(*(torch.from_numpy(value) for value in (x, mean, D)))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12, atol=1e-12)


def test_a_relu_keeps_nan():
    x = torch.tensor([[float("nan"), 1.0, -1.0]])
    one = torch.ones(1, 1)
    assert channel_deconv(x, torch.zeros(1), one, relu=True).isnan().tolist() == [
        [True, *[False] * 2]
    ]


def test_an_empty_batch_stays_empty():
    _, parameters = frozen(14, 4, torch.float32)
    assert channel_deconv(torch.empty(0, 14, 5, 7), *parameters).shape == (0, 14, 5, 7)


def test_channels_left_over_without_their_statistics_are_refused():
    with pytest.raises(InputError, match="10 channels do not split into blocks of 4"):
        channel_deconv(torch.zeros(1, 10), torch.zeros(4), torch.eye(4))


@TYPES
@pytest.mark.parametrize(
    ("shape", "arguments"),
    [
        ((5, 12, 7, 8), {"block": 4}),
        ((5, 11, 7, 8), {"block": 4, "n_iter": 3}),
        ((5, 6, 7, 8), {"block": 64}),
        ((5, 10, 2, 8), {"block": 4}),
        ((5, 10, 7, 8), {"block": 4, "sampling_stride": 1, "eps": 1e-5}),
        ((30, 10), {"block": 4}),
    ],
    ids=["blocks", "leftover", "all left over", "small maps", "all sampled", "matrix"],
)
def test_channels_are_whitened_with_their_own_batch_as_a_training_step_does(
    dtype, shape, arguments
):
    layer = ChannelDeconv(**arguments).double()
    x = correlated(shape).to(dtype)
    attributes = {
        name: getattr(layer, name) for name in ("block", "eps", "n_iter", "sampling_stride")
    }
    assert_close(channel_deconv_dynamic(x, **attributes), layer(x.double()), dtype)


LAYERS = {
    "3x3": (8, 6, 3, {"padding": 1, "block": 4}),
    "3x3 strided and dilated": (8, 6, 3, {"padding": 2, "dilation": 2, "stride": 2, "block": 4}),
    "one block": (3, 6, 3, {"padding": 1}),
    "unequal sides": (4, 6, (3, 5), {"padding": (0, 2), "stride": (2, 1), "dilation": (2, 1)}),
    "1x1": (8, 6, 1, {"block": 4}),
    "1x1 strided": (8, 6, 1, {"block": 4, "stride": 2, "sampling_stride": 2}),
    "every patch": (4, 6, 3, {"sampling_stride": 1}),
    "grouped": (8, 12, 3, {"padding": 1, "groups": 2, "n_iter": 3}),
    "grouped 1x1": (8, 12, 1, {"groups": 4}),
    "depthwise": (6, 12, 3, {"padding": 1, "groups": 6, "n_iter": 1}),
}


def attributes_of(layer):
    return {
        "pads": (*layer.padding, *layer.padding),
        "dilations": layer.dilation,
        "sampling_strides": layer.sampling_stride,
        "group": layer.groups,
        "block": layer.block,
        "n_iter": layer.n_iter,
        "eps": layer.eps,
    }


@TYPES
@pytest.mark.parametrize("case", LAYERS)
def test_a_convolution_with_the_folded_weights_is_a_training_step(dtype, case):
    channels, outputs, kernel, arguments = LAYERS[case]
    torch.manual_seed(0)
    layer = FastDeconv(channels, outputs, kernel, **arguments).double()
    x = correlated((4, channels, 13, 14)).to(dtype)
    parameter = torch.float64 if dtype == torch.float64 else torch.float32
    weight, bias = layer.weight.detach().to(parameter), layer.bias.detach().to(parameter)
    folded, shift = fast_deconv_dynamic(x, weight, bias, **attributes_of(layer))
    assert folded.dtype == shift.dtype == dtype
    assert (folded.shape, shift.shape) == (weight.shape, bias.shape)
    with torch.no_grad():
        y = torch.nn.functional.conv2d(
            x.double(),
            folded.double(),
            shift.double(),
            layer.stride,
            layer.padding,
            layer.dilation,
            layer.groups,
        )
        expected = layer(x.double())
    assert_close(y.to(dtype), expected, dtype, loosened=5)


def test_padding_may_differ_from_side_to_side():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 4, 9, 9, generator=generator, dtype=torch.float64)
    layer = FastDeconv(4, 5, 3, sampling_stride=2).double()
    padded = torch.nn.functional.pad(x, (2, 0, 1, 3))
    expected = fast_deconv_dynamic(padded, layer.weight, layer.bias, **attributes_of(layer))
    attributes = attributes_of(layer) | {"pads": (1, 2, 3, 0)}
    found = fast_deconv_dynamic(x, layer.weight, layer.bias, **attributes)
    for result, truth in zip(found, expected, strict=True):
        torch.testing.assert_close(result, truth)


@pytest.mark.parametrize("kernel", [1, 3])
def test_a_batch_without_values_has_no_statistics(kernel):
    layer = FastDeconv(4, 5, kernel)
    with pytest.raises(InputError, match="no values to take statistics from"):
        fast_deconv_dynamic(
            torch.empty(0, 4, 8, 8), layer.weight, layer.bias, **attributes_of(layer)
        )
    for channels in (4, 3):
        with pytest.raises(InputError, match="no values to take statistics from"):
            channel_deconv_dynamic(
                torch.empty(0, channels, 8, 8), block=4, eps=1e-2, n_iter=5, sampling_stride=3
            )
