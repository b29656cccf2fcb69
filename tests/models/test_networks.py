"""How the networks compute, whatever they were trained on."""

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from nd_deploy import models
from nd_deploy.nd.layers import ChannelDeconv, Delinear, FastDeconv

HEADS = ["linear", "delinear", "channel_deconv"]
PUBLISHED = [name for name in models.names() if "head" in models.describe(name).options]


def on_meta(name, **options):
    with torch.device("meta"):
        return models.build(name, **options).eval()


@pytest.mark.parametrize("norm", ["nd", "bn"])
@pytest.mark.parametrize("name", models.names())
def test_an_input_of_the_described_shape_gives_the_asked_number_of_logits(name, norm):
    x = torch.empty(2, *models.describe(name).input_shape, device="meta")
    assert on_meta(name, norm=norm)(x).shape == (2, models.describe(name).num_classes)
    assert on_meta(name, norm=norm, num_classes=7)(x).shape == (2, 7)


@pytest.mark.parametrize("name", models.names())
def test_the_batch_normalised_twin_has_the_same_weights_and_no_nd_layer(name):
    def weights(network):
        return {key: p.shape for key, p in network.named_parameters() if p.dim() > 1}

    nd, bn = on_meta(name), on_meta(name, norm="bn")
    assert sorted(weights(nd).values()) == sorted(weights(bn).values())
    assert not any(isinstance(m, FastDeconv | Delinear | ChannelDeconv) for m in bn.modules())


@pytest.mark.parametrize("norm", ["nd", "bn"])
@pytest.mark.parametrize("name", PUBLISHED)
def test_the_head_decides_about_delinear_and_channel_deconv(name, norm):
    def found(head):
        modules = list(on_meta(name, norm=norm, head=head, block_fc=128).modules())
        return [
            [m.block for m in modules if isinstance(m, kind)] for kind in (Delinear, ChannelDeconv)
        ]

    assert [found(head) for head in HEADS] == [[[], []], [[128], []], [[], [128]]]


def test_options_reach_the_layers():
    network = on_meta(
        "resnet18", head="delinear", block=32, block_fc=64, eps=1e-3, n_iter=4, sampling_stride=2
    )
    layers = [m for m in network.modules() if isinstance(m, FastDeconv)]
    assert len(layers) == 20
    assert {(m.eps, m.n_iter) for m in layers} == {(1e-3, 4)}
    assert {m.block for m in layers} == {3, 32}
    assert {m.sampling_stride for m in layers} == {(2, 2), (4, 4)}
    head = network.linear
    assert (head.block, head.eps, head.n_iter) == (64, 1e-3, 4)


@pytest.mark.parametrize(
    ("name", "n_iter", "freeze"),
    [("vgg11", 15, True), ("mobilenet_v2", 10, True), ("resnet18", 5, False)],
)
def test_stems_whiten_as_published(name, n_iter, freeze):
    stem = next(m for m in on_meta(name).modules() if isinstance(m, FastDeconv))
    assert (stem.in_channels, stem.n_iter, stem.freeze) == (3, n_iter, freeze)


def test_mobilenet_whitens_depthwise_and_projection_in_one_step():
    blocks = on_meta("mobilenet_v2").layers
    assert [(b.conv1.n_iter, b.conv2.n_iter, b.conv3.n_iter) for b in blocks] == [(5, 1, 1)] * 17
    assert all(b.conv3.block == b.conv1.in_channels for b in blocks)


def randomised(name):
    """A twin in float64 whose normalisations all differ, and an input."""
    torch.manual_seed(0)
    network = models.build(name, norm="bn").double().eval()
    for key, buffer in network.named_buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 1.5) if "var" in key else buffer.normal_()
    return network, torch.randn(2, 3, 32, 32, dtype=torch.float64)


def batch_norm(x, state, key):
    mean, var = state[f"{key}.running_mean"], state[f"{key}.running_var"]
    return F.batch_norm(x, mean, var, state[f"{key}.weight"], state[f"{key}.bias"])


@torch.no_grad()
def test_vgg_is_wired_as_published():
    network, x = randomised("vgg11")
    state, expected, index = network.state_dict(), x, 0
    for width in (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"):
        if width == "M":
            expected, index = F.max_pool2d(expected, 2, 2), index + 1
            continue
        weight, bias = state[f"features.{index}.weight"], state[f"features.{index}.bias"]
        assert len(weight) == width
        expected = F.conv2d(expected, weight, bias, padding=1)
        expected = F.relu(batch_norm(expected, state, f"features.{index + 1}"))
        index += 3
    expected = F.linear(expected[:, :, 0, 0], state["classifier.weight"], state["classifier.bias"])
    torch.testing.assert_close(network(x), expected)


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "depths", "kernels"),
    [("resnet18", (2, 2, 2, 2), (3, 3)), ("resnet50", (3, 4, 6, 3), (1, 3, 1))],
)
def test_resnet_is_wired_as_published(name, depths, kernels):
    network, x = randomised(name)
    state = network.state_dict()

    def conv(x, key, bn, stride=1):
        weight = state[f"{key}.weight"]
        return batch_norm(F.conv2d(x, weight, None, stride, weight.shape[-1] // 2), state, bn)

    expected = F.relu(conv(x, "conv1", "bn1"))
    for stage, depth in enumerate(depths, start=1):
        for index in range(depth):
            block = f"layer{stage}.{index}"
            stride = 2 if stage > 1 and index == 0 else 1
            strided = kernels.index(3) + 1
            out = expected
            for number in range(1, len(kernels) + 1):
                out = out if number == 1 else F.relu(out)
                step = stride if number == strided else 1
                out = conv(out, f"{block}.conv{number}", f"{block}.bn{number}", step)
            if f"{block}.shortcut.0.weight" in state:
                expected = conv(expected, f"{block}.shortcut.0", f"{block}.shortcut.1", stride)
            expected = F.relu(out + expected)
    pooled = expected.mean((2, 3))
    expected = F.linear(pooled, state["linear.weight"], state["linear.bias"])
    torch.testing.assert_close(network(x), expected)
