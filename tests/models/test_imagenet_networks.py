"""What the networks for ImageNet are made of and compute, against plain PyTorch."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812
from wiring import assert_computes, conv, conv_norm, logits, norm, randomised

from nd_deploy import models
from nd_deploy.models.catalogue.imagenet import IMAGENET
from nd_deploy.nd.layers import ChannelDeconv, Delinear, FastDeconv

NAMES = [info.name for info in IMAGENET]
HEADS = ["linear", "delinear", "channel_deconv"]
KINDS = [
    {"norm": "nd", "block": 16, "head": "channel_deconv"},
    {"norm": "bn", "head": "linear"},
]
both_kinds = pytest.mark.parametrize("options", KINDS, ids=["nd", "bn"])


def on_meta(name, **options):
    with torch.device("meta"):
        return models.build(name, **options).eval()


def layers(network, kind):
    return {key: layer for key, layer in network.named_modules() if isinstance(layer, kind)}


@pytest.mark.parametrize(
    ("arch", "name"),
    [
        ("vgg11d", "vgg11_imagenet"),
        ("vgg16d", "vgg16_imagenet"),
        ("resnet18d", "resnet18_imagenet"),
        ("resnet34d", "resnet34_imagenet"),
        ("resnet50d", "resnet50_imagenet"),
        ("resnet101d", "resnet101_imagenet"),
        ("resnext50_32x4d", "resnext50_imagenet"),
        ("densenet121d", "densenet121_imagenet"),
    ],
)
def test_an_imagenet_network_has_the_name_of_the_authors_too(arch, name):
    assert models.describe(arch) is models.describe(name)


@pytest.mark.parametrize("norm", ["nd", "bn"])
@pytest.mark.parametrize("name", NAMES)
def test_an_imagenet_network_maps_images_to_a_thousand_logits_or_as_many_as_asked(name, norm):
    x = torch.empty(2, 3, 224, 224, device="meta")
    assert models.describe(name).input_shape == x.shape[1:]
    assert on_meta(name, norm=norm)(x).shape == (2, 1000)
    assert on_meta(name, norm=norm, num_classes=7)(x).shape == (2, 7)


@pytest.mark.parametrize("norm", ["nd", "bn"])
@pytest.mark.parametrize("name", NAMES)
def test_the_head_decides_about_every_linear_layer_of_an_imagenet_network(name, norm):
    def blocks(head):
        network = on_meta(name, norm=norm, head=head, block_fc=32)
        return [
            [layer.block for layer in layers(network, kind).values()]
            for kind in (Delinear, ChannelDeconv)
        ]

    blocks_of_all = [32] * (3 if name.startswith("vgg") else 1)
    # The published twin of DenseNet ignores that it is to have a ChannelDeconv.
    ignored = (name, norm) == ("densenet121_imagenet", "bn")
    assert [blocks(head) for head in HEADS] == [
        [[], []],
        [blocks_of_all, []],
        [[], [] if ignored else blocks_of_all],
    ]


@pytest.mark.parametrize("name", NAMES)
def test_only_the_stem_of_an_imagenet_network_is_frozen_and_whitened_in_15_steps(name):
    stem, *others = layers(on_meta(name), FastDeconv).values()
    kernel = 3 if name.startswith("vgg") else 7
    assert (stem.in_channels, stem.kernel_size) == (3, (kernel, kernel))
    assert (stem.n_iter, stem.freeze) == (15, True)
    assert all(layer.n_iter == 5 and not layer.freeze for layer in others)


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("vgg11_imagenet", []),
        ("resnet18_imagenet", [2, 3, 4]),
        ("resnet50_imagenet", [1, 2, 3, 4]),
        ("resnext50_imagenet", [1, 2, 3, 4]),
        ("densenet121_imagenet", []),
    ],
)
def test_downsampling_alone_stays_batch_normalised_in_the_nd_kind(name, stages):
    assert list(layers(on_meta(name), nn.BatchNorm2d)) == [
        f"layer{stage}.0.downsample.1" for stage in stages
    ]


@pytest.mark.parametrize("name", ["resnet18_imagenet", "resnet50_imagenet", "densenet121_imagenet"])
def test_only_a_deconvolution_has_a_bias_where_the_twin_has_a_normalisation(name):
    for kind, biased in (("nd", True), ("bn", False)):
        convs = layers(on_meta(name, norm=kind), nn.Conv2d | FastDeconv).values()
        assert {conv.bias is not None for conv in convs} == {biased}


@pytest.mark.parametrize("norm", ["nd", "bn"])
@pytest.mark.parametrize(
    ("name", "depths"), [("vgg11", (1, 1, 2, 2, 2)), ("vgg16", (2, 2, 3, 3, 3))]
)
def test_the_features_of_vgg_are_those_published_the_twin_normalised_as_torchvisions(
    name, depths, norm
):
    found = []
    for layer in on_meta(f"{name}_imagenet", norm=norm).features:
        is_conv = isinstance(layer, nn.Conv2d | FastDeconv)
        if is_conv:
            assert (layer.kernel_size, layer.stride, layer.padding) == ((3, 3), (1, 1), (1, 1))
            assert layer.bias is not None
        found.append(layer.out_channels if is_conv else type(layer).__name__)
    expected = []
    for width, depth in zip((64, 128, 256, 512, 512), depths, strict=True):
        norms = ["BatchNorm2d"] if norm == "bn" else []
        expected += [width, *norms, "ReLU"] * depth + ["MaxPool2d"]
    assert found == expected


@pytest.mark.parametrize(
    ("head", "before"), [("linear", []), ("delinear", []), ("channel_deconv", ["ChannelDeconv"])]
)
def test_the_classifier_of_vgg_has_three_linear_layers_with_dropout_between(head, before):
    classifier = on_meta("vgg11_imagenet", head=head).classifier
    linear = "Delinear" if head == "delinear" else "Linear"
    between = [*before, linear, "ReLU", "Dropout"]
    assert [type(layer).__name__ for layer in classifier] == [*between * 2, *before, linear]
    sizes = [
        (layer.in_features, layer.out_features)
        for layer in classifier
        if isinstance(layer, nn.Linear | Delinear)
    ]
    assert sizes == [(512 * 7 * 7, 4096), (4096, 4096), (4096, 1000)]


@torch.no_grad()
@both_kinds
@pytest.mark.parametrize(
    ("name", "depths", "kernels"),
    [
        ("resnet18_imagenet", (2, 2, 2, 2), (3, 3)),
        ("resnet50_imagenet", (3, 4, 6, 3), (1, 3, 1)),
        ("resnext50_imagenet", (3, 4, 6, 3), (1, 3, 1)),
    ],
)
def test_resnet_for_imagenet_is_wired_as_published(name, depths, kernels, options):
    network, state, x = randomised(name, **options, block_fc=48)
    assert (state["layer1.0.conv2.weight"].shape[1] == 4) == (name == "resnext50_imagenet")
    out = F.max_pool2d(F.relu(conv_norm(x, state, "", 1, 2)), 3, 2, 1)
    strided = kernels.index(3) + 1
    for stage, depth in enumerate(depths, start=1):
        for index in range(depth):
            key, shortcut = f"layer{stage}.{index}.", out
            stride = 2 if stage > 1 and index == 0 else 1
            for number in range(1, len(kernels) + 1):
                out = out if number == 1 else F.relu(out)
                out = conv_norm(out, state, key, number, stride if number == strided else 1)
            if f"{key}downsample.0.weight" in state:
                shortcut = conv(shortcut, state, f"{key}downsample.0", stride)
                assert f"{key}downsample.1.running_var" in state
                shortcut = norm(shortcut, state, f"{key}downsample.1")
            out = F.relu(out + shortcut)
    assert_computes(network, x, logits(out, state, "deconv1", "fc"))


@torch.no_grad()
def test_a_delinear_classifies_what_resnet_averages():
    network, state, x = randomised("resnet18_imagenet", norm="bn", head="delinear", block_fc=48)
    before = []
    network.fc.register_forward_pre_hook(lambda _, args: before.append(args[0]))
    found = network(x)
    mean, deconv = state["fc.running_mean"], state["fc.running_deconv"]
    assert len(deconv) == 16
    blocks = (before[0].reshape(2, -1, 16) - mean) @ deconv.T
    expected = F.linear(blocks.reshape(2, -1), state["fc.weight"], state["fc.bias"])
    torch.testing.assert_close(found, expected)


def channel_deconv(x, state, key):
    mean, deconv = state[f"{key}.running_mean1"], state[f"{key}.running_deconv"]
    blocks = x.reshape(len(x), len(deconv), -1) - mean
    return torch.einsum("bc,ncp->nbp", deconv, blocks).reshape(x.shape)


@torch.no_grad()
@both_kinds
def test_densenet_for_imagenet_is_wired_as_published(options):
    network, state, x = randomised("densenet121_imagenet", **options, block_fc=64)
    deconvolved = options["norm"] == "nd"
    out = F.relu(norm(conv(x, state, "features.conv0", 2), state, "features.norm0"))
    out = F.max_pool2d(out, 3, 2, 1)
    for number, depth in enumerate((6, 12, 24, 16), start=1):
        for index in range(1, depth + 1):
            key = f"features.denseblock{number}.denselayer{index}."
            if deconvolved:
                out = F.relu(out)
            new = conv(F.relu(norm(out, state, f"{key}norm1")), state, f"{key}conv1")
            new = conv(F.relu(norm(new, state, f"{key}norm2")), state, f"{key}conv2")
            out = torch.cat([out, new], 1)
        if number < 4:
            key = f"features.transition{number}."
            out = conv(F.relu(norm(out, state, f"{key}norm")), state, f"{key}conv")
            out = F.avg_pool2d(out, 2)
    last = channel_deconv if deconvolved else norm
    out = F.relu(last(out, state, "features.norm5"))
    assert_computes(network, x, logits(out, state, "none", "classifier"))


@torch.no_grad()
@pytest.mark.parametrize(("norm", "kept"), [("nd", F.relu), ("bn", torch.clone)])
def test_a_dense_layer_overwrites_what_it_concatenates_only_in_the_nd_kind(norm, kept):
    layer = models.build("densenet121_imagenet", norm=norm).eval().features.denseblock1[0]
    x = torch.randn(2, 64, 5, 5)
    torch.testing.assert_close(layer(x.clone())[:, :64], kept(x), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vgg11_imagenet", {"norm": "bn", "head": "channel_deconv", "block_fc": 100}),
        ("vgg16_imagenet", {"head": "delinear", "block": 32, "block_fc": 128}),
        ("resnet18_imagenet", {"norm": "bn", "head": "delinear", "num_classes": 3}),
        ("resnext50_imagenet", {"head": "linear", "block": 128}),
        ("densenet121_imagenet", {"head": "channel_deconv", "block_fc": 512}),
    ],
)
def test_the_options_of_an_imagenet_network_are_told_from_its_state_dict(name, options):
    saved = on_meta(name, **options).state_dict()
    assert options.items() <= models.options_from_state_dict(name, saved).items()


def test_the_accuracies_are_those_of_the_papers_second_table():
    assert {
        info.name: [(row.metric, row.bn, row.nd) for row in info.accuracy]
        for info in IMAGENET
        if info.accuracy
    } == {
        "vgg11_imagenet": [("top-1", 70.38, 71.95), ("top-5", 89.81, 90.49)],
        "resnet18_imagenet": [("top-1", 69.76, 71.24), ("top-5", 89.08, 90.14)],
        "densenet121_imagenet": [("top-1", 74.65, 75.73), ("top-5", 92.17, 92.75)],
    }
