"""What networks compute, in plain PyTorch and in float64, from nothing but their state dict."""

import torch
from torch.nn import functional as F  # noqa: N812

from nd_deploy import models

KINDS = [
    {"norm": "nd", "block": 16, "head": "channel_deconv", "block_fc": 48},
    {"norm": "bn"},
]
"""Options that between them show all the wiring; small blocks, since they compute fastest."""


def randomised(name, **options):
    """A network in float64 of which no two layers are alike, its state dict, and an input.

    The weights keep the size of the activations, so that all of it reaches the logits.
    """
    torch.manual_seed(0)
    with torch.device("meta"):
        network = models.build(name, **options)
    network = network.to_empty(device="cpu").double().eval()
    state = network.state_dict()
    for key, value in state.items():
        kind = key.rpartition(".")[2]
        if kind == "num_batches_tracked":
            value.fill_(1)
        elif kind == "running_var" or (kind == "weight" and value.dim() == 1):
            value.uniform_(0.5, 1.5)
        elif kind == "weight":
            value.normal_(0, (2 / value[0].numel()) ** 0.5)
        elif kind == "running_deconv":
            features = value.shape[-1]
            value.normal_(0, 0.1 / features**0.5).add_(torch.eye(features))
        else:
            value.normal_(0, 0.1)
    return network, state, torch.randn(2, 3, 32, 32, dtype=torch.float64)


def conv(x, state, key, stride=1):
    """A convolution that keeps the resolution unless strided; groups follow from the shapes."""
    weight, bias = state[f"{key}.weight"], state.get(f"{key}.bias")
    groups = x.shape[1] // weight.shape[1]
    if f"{key}.running_deconv" in state:
        weight, bias = _whitened(weight, bias, state, key)
    return F.conv2d(x, weight, bias, stride, weight.shape[-1] // 2, groups=groups)


def _whitened(weight, bias, state, key):
    mean, deconv = state[f"{key}.running_mean"], state[f"{key}.running_deconv"]
    if deconv.dim() == 3:
        w = weight.reshape(len(deconv), -1, deconv.shape[-1])
        w = torch.einsum("jof,jfh->joh", w, deconv)
        shift = torch.einsum("joh,jh->jo", w, mean.reshape(len(deconv), -1)).flatten()
    else:
        w = weight.reshape(len(weight), len(deconv), -1)
        w = torch.einsum("ofg,fh->ohg", w, deconv)
        shift = torch.einsum("ohg,h->o", w, mean)
    return w.reshape(weight.shape), bias - shift


def norm(x, state, key):
    """A batch normalisation, where there is one."""
    if f"{key}.running_var" not in state:
        return x
    names = ("running_mean", "running_var", "weight", "bias")
    mean, var, weight, bias = (state[f"{key}.{name}"][:, None, None] for name in names)
    return (x - mean) / (var + 1e-5).sqrt() * weight + bias


def conv_norm(x, state, key, number, stride=1):
    """A numbered convolution and its normalisation."""
    return norm(conv(x, state, f"{key}conv{number}", stride), state, f"{key}bn{number}")


def gate(x, state, key):
    """Squeeze and excitation: x weighed channel by channel."""
    w = F.relu(conv(x.mean((2, 3), keepdim=True), state, f"{key}fc1"))
    return x * conv(w, state, f"{key}fc2").sigmoid()


def logits(x, state, deconv="deconv1", linear="linear"):
    """The head on what leaves the last stage: perhaps a ChannelDeconv, then the classifier."""
    if f"{deconv}.running_deconv" in state:
        x = _channel_deconv(x, state, deconv)
    return F.linear(x.mean((2, 3)), state[f"{linear}.weight"], state[f"{linear}.bias"])


def _channel_deconv(x, state, key):
    mean, deconv, mean2, var = (
        state[f"{key}.{name}"]
        for name in ("running_mean1", "running_deconv", "running_mean2", "running_var")
    )
    whole = x.shape[1] // len(deconv) * len(deconv)
    blocks = x[:, :whole].reshape(len(x), len(deconv), -1) - mean
    blocks = torch.einsum("bc,ncp->nbp", deconv, blocks).reshape(x[:, :whole].shape)
    rest = (x[:, whole:] - mean2) / (var + 1e-5).sqrt()
    return torch.cat([blocks, rest], 1)


@torch.no_grad()
def assert_computes(network, x, expected):
    """Equal logits up to rounding, of a network whose logits depend on the image."""
    size = expected.abs().max()
    assert (expected[0] - expected[1]).abs().max() > 1e-3 * size
    torch.testing.assert_close(network(x) / size, expected / size, rtol=0, atol=1e-10)
