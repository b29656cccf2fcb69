"""What the networks for digits and CIFAR are made of."""

import pytest
import torch

from nd_deploy import models
from nd_deploy.models.catalogue.cifar import CIFAR
from nd_deploy.models.catalogue.small import SMALL
from nd_deploy.nd.layers import ChannelDeconv, Delinear, FastDeconv

NAMES = [info.name for info in (*SMALL, *CIFAR)]
KINDS_OF_LAYER = (FastDeconv, Delinear, ChannelDeconv)


def on_meta(name, **options):
    with torch.device("meta"):
        return models.build(name, **options).eval()


def fast_deconvs(network):
    return {key: m for key, m in network.named_modules() if isinstance(m, FastDeconv)}


@pytest.mark.parametrize("norm", ["nd", "bn"])
@pytest.mark.parametrize("name", NAMES)
def test_an_input_of_the_described_shape_gives_the_asked_number_of_logits(name, norm):
    x = torch.empty(2, *models.describe(name).input_shape, device="meta")
    assert on_meta(name, norm=norm)(x).shape == (2, models.describe(name).num_classes)
    assert on_meta(name, norm=norm, num_classes=7)(x).shape == (2, 7)


@pytest.mark.parametrize("name", NAMES)
def test_the_batch_normalised_twin_has_the_same_weights_and_no_nd_layer(name):
    def weights(network):
        return sorted(p.shape for p in network.parameters() if p.dim() > 1)

    nd, bn = on_meta(name), on_meta(name, norm="bn")
    assert weights(nd) == weights(bn)
    assert not any(isinstance(m, KINDS_OF_LAYER) for m in bn.modules())


def blocks_by_head(name, norm):
    """For every head, the blocks of the Delinears and of the ChannelDeconvs."""

    def found(head):
        layers = list(on_meta(name, norm=norm, head=head, block_fc=128).modules())
        return tuple(
            [m.block for m in layers if isinstance(m, kind)] for kind in (Delinear, ChannelDeconv)
        )

    return {head: found(head) for head in ("linear", "delinear", "channel_deconv")}


@pytest.mark.parametrize("norm", ["nd", "bn"])
@pytest.mark.parametrize("name", [info.name for info in CIFAR])
def test_the_head_decides_about_delinear_and_channel_deconv(name, norm):
    # The published twin of DenseNet ignores that it is to have a ChannelDeconv.
    ignored = (name, norm) == ("densenet121", "bn")
    # 128 does not divide the 176 and 320 features of these two.
    delinear = {"pnasnet_a": 16, "efficientnet_b0": 64}.get(name, 128)
    assert blocks_by_head(name, norm) == {
        "linear": ([], []),
        "delinear": ([delinear], []),
        "channel_deconv": ([], [] if ignored else [128]),
    }


def test_options_reach_the_layers():
    network = on_meta(
        "resnet18", head="delinear", block=32, block_fc=64, eps=1e-3, n_iter=4, sampling_stride=2
    )
    layers = fast_deconvs(network).values()
    assert len(layers) == 20
    assert {(m.eps, m.n_iter) for m in layers} == {(1e-3, 4)}
    assert {m.block for m in layers} == {3, 32}
    assert {m.sampling_stride for m in layers} == {(2, 2), (4, 4)}
    head = network.linear
    assert (head.block, head.eps, head.n_iter) == (64, 1e-3, 4)


@pytest.mark.parametrize(
    ("name", "kernel", "n_iter", "freeze"),
    [
        ("vgg11", 3, 15, True),
        ("resnet18", 3, 5, False),
        ("preact_resnet18", 3, 10, True),
        ("senet18", 3, 15, True),
        ("resnext29", 1, 10, True),
        ("densenet121", 3, 5, False),
        ("dpn92", 3, 10, True),
        ("mobilenet_v2", 3, 10, True),
        ("pnasnet_a", 3, 10, True),
        ("pnasnet_b", 3, 10, True),
        ("efficientnet_b0", 3, 10, True),
    ],
)
def test_only_stems_are_frozen_and_whitened_in_more_steps(name, kernel, n_iter, freeze):
    stem, *others = fast_deconvs(on_meta(name)).values()
    assert (stem.in_channels, stem.kernel_size) == (3, (kernel, kernel))
    assert (stem.n_iter, stem.freeze) == (n_iter, freeze)
    assert all(layer.n_iter <= 5 and not layer.freeze for layer in others)


def test_mobilenet_whitens_depthwise_and_projection_in_one_step():
    blocks = on_meta("mobilenet_v2").layers
    assert [(b.conv1.n_iter, b.conv2.n_iter, b.conv3.n_iter) for b in blocks] == [(5, 1, 1)] * 17
    assert all(b.conv3.block == b.conv1.in_channels for b in blocks)


@pytest.mark.parametrize(
    ("name", "grouped"),
    [("resnext29", {(32, 3): 9}), ("dpn92", {(32, 5): 30}), ("densenet121", {})],
)
def test_grouped_convolutions_have_their_own_number_of_steps(name, grouped):
    found = [(m.groups, m.n_iter) for m in fast_deconvs(on_meta(name)).values() if m.groups > 1]
    assert {kind: found.count(kind) for kind in found} == grouped


def test_the_strided_cells_of_pnasnet_make_two_channels_of_each():
    layers = fast_deconvs(on_meta("pnasnet_a"))
    strided = {key: m for key, m in layers.items() if m.stride == (2, 2)}
    assert list(strided) == ["layer2.sep_conv1.conv1", "layer4.sep_conv1.conv1"]
    assert all(m.out_channels == 2 * m.groups == 2 * m.in_channels for m in strided.values())


def test_the_stages_of_efficientnet_stay_batch_normalised():
    network = on_meta("efficientnet_b0", head="delinear")
    layers = {key for key, m in network.named_modules() if isinstance(m, KINDS_OF_LAYER)}
    assert layers == {"conv1", "linear"}
    assert sum(isinstance(m, torch.nn.BatchNorm2d) for m in network.modules()) == 50


def test_the_unused_normalisation_of_preact_resnet_changes_nothing():
    torch.manual_seed(0)
    network = models.build("preact_resnet18", norm="bn").eval()
    x = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        before = network(x)
        network.bn1.running_mean.fill_(3)
        assert torch.equal(network(x), before)
