"""How networks of residual blocks compute, against plain PyTorch."""

import pytest
import torch
from torch.nn import functional as F  # noqa: N812
from wiring import KINDS, assert_computes, conv, conv_norm, gate, logits, norm, randomised

pytestmark = pytest.mark.parametrize("options", KINDS, ids=["nd", "bn"])


def blocks(depths):
    """The key and the stride of every block."""
    for stage, depth in enumerate(depths, start=1):
        for index in range(depth):
            yield f"layer{stage}.{index}.", 2 if stage > 1 and index == 0 else 1


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "depths", "kernels"),
    [
        ("resnet18", (2, 2, 2, 2), (3, 3)),
        ("resnet50", (3, 4, 6, 3), (1, 3, 1)),
        ("resnext29", (3, 3, 3), (1, 3, 1)),
    ],
)
def test_resnet_and_resnext_are_wired_as_published(name, depths, kernels, options):
    network, state, x = randomised(name, **options)
    out = F.relu(conv_norm(x, state, "", 1))
    for key, stride in blocks(depths):
        shortcut, strided = out, kernels.index(3) + 1
        for number in range(1, len(kernels) + 1):
            out = out if number == 1 else F.relu(out)
            out = conv_norm(out, state, key, number, stride if number == strided else 1)
        if f"{key}shortcut.0.weight" in state:
            shortcut = conv(shortcut, state, f"{key}shortcut.0", stride)
            shortcut = norm(shortcut, state, f"{key}shortcut.1")
        out = F.relu(out + shortcut)
    assert_computes(network, x, logits(out, state))


@torch.no_grad()
@pytest.mark.parametrize("name", ["preact_resnet18", "senet18"])
def test_preact_resnet_and_senet_are_wired_as_published(name, options):
    network, state, x = randomised(name, **options)
    out = conv(x, state, "conv1")
    if name == "senet18":
        out = F.relu(norm(out, state, "bn1"))
    for key, stride in blocks((2, 2, 2, 2)):
        shortcut, active = out, F.relu(norm(out, state, f"{key}bn1"))
        if stride == 2:
            projection = "shortcut" if options["norm"] == "nd" else "shortcut.0"
            shortcut = conv(active, state, f"{key}{projection}", stride)
        out = conv(active, state, f"{key}conv1", stride)
        out = conv(F.relu(norm(out, state, f"{key}bn2")), state, f"{key}conv2")
        if name == "senet18":
            out = gate(out, state, key)
        out = out + shortcut
    assert_computes(network, x, logits(out, state))


@torch.no_grad()
def test_dpn_is_wired_as_published(options):
    network, state, x = randomised("dpn92", **options)
    out = F.relu(conv_norm(x, state, "", 1))
    for key, stride in blocks((3, 4, 20, 3)):
        residual = 128 * 2 ** int(key[len("layer")])
        shortcut = out
        if key.endswith(".0.") and options["norm"] == "nd":
            shortcut = conv(out, state, f"{key}shortcut", stride)
        elif key.endswith(".0."):
            shortcut = conv(out, state, f"{key}shortcut.0", stride)
            shortcut = norm(shortcut, state, f"{key}shortcut.1")
        out = F.relu(conv_norm(out, state, key, 1))
        out = F.relu(conv_norm(out, state, key, 2, stride))
        out = conv_norm(out, state, key, 3)
        added = shortcut[:, :residual] + out[:, :residual]
        out = F.relu(torch.cat([added, shortcut[:, residual:], out[:, residual:]], 1))
    assert_computes(network, x, logits(out, state))
