"""How the networks without plain residual blocks compute, against plain PyTorch."""

import pytest
import torch
from torch.nn import functional as F  # noqa: N812
from wiring import KINDS, assert_computes, conv, conv_norm, gate, logits, norm, randomised

pytestmark = pytest.mark.parametrize("options", KINDS, ids=["nd", "bn"])


@torch.no_grad()
def test_vgg_is_wired_as_published(options):
    network, state, x = randomised("vgg11", **options)
    out, index = x, 0
    for width in (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"):
        if width == "M":
            out, index = F.max_pool2d(out, 2, 2), index + 1
            continue
        out = conv(out, state, f"features.{index}")
        assert out.shape[1] == width
        if options["norm"] == "bn":
            index += 1
            out = norm(out, state, f"features.{index}")
        out, index = F.relu(out), index + 2
    assert_computes(network, x, logits(out, state, "channel_deconv", "classifier"))


@torch.no_grad()
def test_densenet_is_wired_as_published(options):
    network, state, x = randomised("densenet121", **options)
    out = conv(x, state, "conv1")
    for stage, depth in enumerate((6, 12, 24, 16), start=1):
        for index in range(depth):
            key = f"dense{stage}.{index}."
            new = conv(F.relu(norm(out, state, f"{key}bn1")), state, f"{key}conv1")
            new = conv(F.relu(norm(new, state, f"{key}bn2")), state, f"{key}conv2")
            out = torch.cat([new, out], 1)
        if stage < 4:
            out = F.relu(norm(out, state, f"trans{stage}.bn"))
            out = F.avg_pool2d(conv(out, state, f"trans{stage}.conv"), 2)
    out = F.relu(norm(out, state, "bn"))
    assert_computes(network, x, logits(out, state, "channel_deconv"))


def inverted_residuals(stages):
    """The key, the stride and the output channels of every block."""
    number = 0
    for channels, depth, first in stages:
        for index in range(depth):
            yield f"layers.{number}.", first if index == 0 else 1, channels
            number += 1


def inverted_branch(x, state, key, stride):
    out = F.relu(conv_norm(x, state, key, 1))
    out = F.relu(conv_norm(out, state, key, 2, stride))
    return conv_norm(out, state, key, 3)


def inverted_shortcut(x, state, key, channels):
    if x.shape[1] == channels:
        return x
    return norm(conv(x, state, f"{key}shortcut.0"), state, f"{key}shortcut.1")


@torch.no_grad()
def test_mobilenet_is_wired_as_published(options):
    network, state, x = randomised("mobilenet_v2", **options)
    out = F.relu(conv_norm(x, state, "", 1))
    stages = [(16, 1, 1), (24, 2, 1), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1)]
    for key, stride, channels in inverted_residuals(stages):
        branch = inverted_branch(out, state, key, stride)
        shortcut = inverted_shortcut(out, state, key, channels) if stride == 1 else 0
        out = branch + shortcut
    assert_computes(network, x, logits(F.relu(conv_norm(out, state, "", 2)), state))


@torch.no_grad()
def test_efficientnet_is_wired_as_published(options):
    network, state, x = randomised("efficientnet_b0", **options)
    out = F.relu(conv_norm(x, state, "", 1))
    stages = [(16, 1, 2), (24, 2, 1), (40, 2, 2), (80, 3, 2), (112, 3, 1), (192, 4, 2), (320, 1, 2)]
    for key, stride, channels in inverted_residuals(stages):
        branch = inverted_branch(out, state, key, stride)
        shortcut = inverted_shortcut(out, state, key, channels) if stride == 1 else branch
        out = gate(branch, state, key) + shortcut
    assert out.shape[2:] == (1, 1)
    assert_computes(network, x, logits(out, state))


@torch.no_grad()
@pytest.mark.parametrize("name", ["pnasnet_a", "pnasnet_b"])
def test_pnasnet_is_wired_as_published(name, options):
    network, state, x = randomised(name, **options)

    def separable(x, key, number, stride):
        return conv_norm(x, state, f"{key}sep_conv{number}.", 1, stride)

    def cell(x, key, stride):
        pooled = F.max_pool2d(x, 3, stride, padding=1)
        if stride == 2:
            pooled = conv_norm(pooled, state, key, 1)
        if name == "pnasnet_a":
            return F.relu(separable(x, key, 1, stride) + pooled)
        left = F.relu(separable(x, key, 1, stride) + separable(x, key, 2, stride))
        right = F.relu(pooled + separable(x, key, 3, stride))
        return F.relu(conv_norm(torch.cat([left, right], 1), state, key, 2))

    out = F.relu(conv_norm(x, state, "", 1))
    for stage in range(1, 6):
        if stage in (2, 4):
            out = cell(out, f"layer{stage}.", 2)
            continue
        for index in range(6):
            out = cell(out, f"layer{stage}.{index}.", 1)
    assert_computes(network, x, logits(out, state))
