"""What the networks for segmentation are made of and compute, against plain PyTorch."""

import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812
from wiring import conv, conv_norm, norm, randomised

import nd_deploy
from nd_deploy import models
from nd_deploy.models import segmentation
from nd_deploy.models.blocks import Recipe
from nd_deploy.models.catalogue.segmentation import SEGMENTATION
from nd_deploy.nd.layers import FastDeconv

NAMES = [info.name for info in SEGMENTATION]
# The options, the kind of the backbone and the kind of the heads.
KINDS = [
    ({"norm": "nd"}, "nd", "nd"),
    ({"norm": "nd", "backbone": "bn"}, "bn", "nd"),
    ({"norm": "bn"}, "bn", "bn"),
    ({"norm": "bn", "backbone": "bn"}, "bn", "bn"),
]


def on_meta(name, **options):
    with torch.device("meta"):
        return models.build(name, **options).eval()


def atrous(x, state, key, dilation):
    """A dilated convolution: an ordinary one of every dilation-th pixel, from each start."""
    height, width = x.shape[2:]
    grids = F.pad(x, (0, -width % dilation, 0, -height % dilation))
    grids = (
        grids.unflatten(3, (-1, dilation)).unflatten(2, (-1, dilation)).permute(3, 5, 0, 1, 2, 4)
    )
    # Where the dilation exceeds the map, the other starts lie outside.
    starts = grids[:height, :width]
    out = conv(starts.flatten(0, 2), state, key).unflatten(0, starts.shape[:3])
    return out.permute(2, 3, 4, 0, 5, 1).flatten(4).flatten(2, 3)[..., :height, :width]


def activated(x, state, key, index, dilation=1):
    """A numbered convolution of a sequence, its normalisation if there is one, and a ReLU."""
    return F.relu(norm(atrous(x, state, f"{key}{index}", dilation), state, f"{key}{index + 1}"))


def bottleneck(x, state, key, stride, dilation):
    out = F.relu(conv_norm(x, state, key, 1))
    if stride == 1:
        out = norm(atrous(out, state, f"{key}conv2", dilation), state, f"{key}bn2")
    else:
        out = conv_norm(out, state, key, 2, stride)
    out = conv_norm(F.relu(out), state, key, 3)
    if f"{key}downsample.0.weight" in state:
        x = norm(conv(x, state, f"{key}downsample.0", stride), state, f"{key}downsample.1")
    return F.relu(out + x)


def backbone(x, state):
    """The maps of every stage of a ResNet-50 whose last two stages dilate."""
    out = F.max_pool2d(F.relu(conv_norm(x, state, "backbone.", 1, 2)), 3, 2, 1)
    stages = [((1, 1), 3, 1), ((1, 1), 4, 2), ((1, 2), 6, 1), ((2, 4), 3, 1)]
    for stage, ((first, rest), depth, stride) in enumerate(stages, start=1):
        for index in range(depth):
            geometry = (stride, first) if index == 0 else (1, rest)
            out = bottleneck(out, state, f"backbone.layer{stage}.{index}.", *geometry)
        yield out


def fcn(x, state, key, nd):
    return conv(activated(x, state, key, 0), state, f"{key}{3 if nd else 4}")


def aspp(x, state, key):
    parts = [activated(x, state, f"{key}convs.0.", 0)]
    for index, rate in enumerate((12, 24, 36), start=1):
        parts.append(activated(x, state, f"{key}convs.{index}.", 0, rate))
    pooled = activated(x.mean((2, 3), keepdim=True), state, f"{key}convs.4.", 1)
    parts.append(pooled.expand(-1, -1, *x.shape[2:]))
    return activated(torch.cat(parts, 1), state, f"{key}project.", 0)


def deeplabv3(x, state, key, nd):
    out = activated(aspp(x, state, f"{key}0."), state, key, 1)
    return conv(out, state, f"{key}{3 if nd else 4}")


def resized(x, size):
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("fcn_resnet50", {"norm": "nd", "aux": "on"}),
        ("fcn_resnet50", {"norm": "bn", "aux": "on"}),
        ("fcn_resnet50", {"norm": "nd", "backbone": "bn"}),
        ("deeplabv3_resnet50", {"norm": "nd"}),
        ("deeplabv3_resnet50", {"norm": "bn"}),
    ],
)
def test_segmentation_is_wired_as_published(name, options):
    network, state, _ = randomised(name, **options, block=16, num_classes=5)
    x = torch.randn(2, 3, 33, 47, dtype=torch.float64)
    head = {"fcn_resnet50": fcn, "deeplabv3_resnet50": deeplabv3}[name]
    nd = options["norm"] == "nd"
    *_, third, last = backbone(x, state)
    expected = {"out": head(last, state, "classifier.", nd)}
    if options.get("aux") == "on":
        expected["aux"] = fcn(third, state, "aux_classifier.", nd)
    found = network(x)
    assert list(found) == list(expected)
    for key, maps in expected.items():
        assert maps.shape[2:] == (5, 6)
        scale = maps.abs().max()
        assert (maps[0] - maps[1]).abs().max() > 1e-3 * scale
        torch.testing.assert_close(
            found[key] / scale, resized(maps, x.shape[2:]) / scale, rtol=0, atol=1e-10
        )


@torch.no_grad()
@pytest.mark.parametrize("norm", ["nd", "bn"])
def test_the_pyramid_reaches_as_far_as_its_rates(norm):
    torch.manual_seed(0)
    recipe = Recipe(5, norm, "linear", 16, 16, 1e-5, 5, 3)
    pyramid = segmentation.ASPP(8, recipe).double().eval()
    for buffer in pyramid.buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 1.5)
    x = torch.randn(1, 8, 41, 38, dtype=torch.float64)
    torch.testing.assert_close(pyramid(x), aspp(x, pyramid.state_dict(), ""))


@pytest.mark.parametrize("aux", ["off", "on"])
@pytest.mark.parametrize("norm", ["nd", "bn"])
@pytest.mark.parametrize("name", NAMES)
def test_every_pixel_gets_as_many_logits_as_there_are_classes(name, norm, aux):
    assert models.describe(name).input_shape == (3, 480, 480)
    network = on_meta(name, norm=norm, aux=aux)
    for height, width in ((480, 480), (65, 96)):
        logits = network(torch.empty(2, 3, height, width, device="meta"))
        assert list(logits) == (["out", "aux"] if aux == "on" else ["out"])
        assert {value.shape for value in logits.values()} == {(2, 21, height, width)}


@pytest.mark.parametrize(("options", "below", "above"), KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_backbone_and_heads_are_of_the_kinds_asked_for(name, options, below, above):
    network = on_meta(name, **options, aux="on")
    for part, kind in (("backbone", below), ("classifier", above), ("aux_classifier", above)):
        modules = list(getattr(network, part).modules())
        convs = [m for m in modules if isinstance(m, nn.Conv2d | FastDeconv)]
        assert {isinstance(m, FastDeconv) for m in convs} == {kind == "nd"}
        norms = sum(isinstance(m, nn.BatchNorm2d) for m in modules)
        # A deconvolved backbone keeps the normalisations of its four downsamplings; the last
        # convolution of a head has none.
        kept = 4 if part == "backbone" else 0
        plain = len(convs) if part == "backbone" else len(convs) - 1
        assert norms == (kept if kind == "nd" else plain)
        biased = sum(conv.bias is not None for conv in convs)
        assert biased == (len(convs) if kind == "nd" else len(convs) - plain)
        assert part == "backbone" or convs[-1].bias is not None


@pytest.mark.parametrize(("name", "channels"), [("fcn_resnet50", 512), ("deeplabv3_resnet50", 256)])
def test_the_last_convolution_of_a_head_whitens_all_its_channels_together(name, channels):
    network = on_meta(name, aux="on")
    blocks = [
        [layer.block for layer in head.modules() if isinstance(layer, FastDeconv)]
        for head in (network.classifier, network.aux_classifier)
    ]
    assert [head[-1] for head in blocks] == [channels, 256]
    assert {block for head in blocks for block in head[:-1]} == {64}


@pytest.mark.parametrize("name", NAMES)
def test_a_backbone_has_neither_pooling_nor_classifier(name):
    network = on_meta(name)
    assert {key.split(".")[0] for key in network.state_dict()} == {"backbone", "classifier"}
    assert [key for key, m in network.backbone.named_children() if list(m.parameters())] == [
        "conv1", "layer1", "layer2", "layer3", "layer4",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("fcn_resnet50", {"norm": "nd", "backbone": "bn", "aux": "on", "num_classes": 3}),
        ("fcn_resnet101", {"norm": "bn", "backbone": "nd", "aux": "on", "num_classes": 19}),
        ("deeplabv3_resnet50", {"norm": "nd", "backbone": "nd", "aux": "off", "block": 32}),
        ("deeplabv3_resnet101", {"norm": "nd", "backbone": "nd", "aux": "on", "block": 128}),
    ],
)
def test_the_options_of_a_segmentation_network_are_told_from_its_state_dict(name, options):
    saved = on_meta(name, **options).state_dict()
    assert options.items() <= models.options_from_state_dict(name, saved).items()


class Strided(nn.Module):
    """In the place of a backbone, which takes long to export."""

    def forward(self, x):
        return x[..., ::4, ::4], x[..., ::2, ::2]


@torch.no_grad()
def test_height_and_width_stay_open_in_an_export():
    recipe = Recipe(4, "nd", "linear", 16, 16, 1e-5, 5, 3)
    head = nn.Sequential(nn.Conv2d(3, 3, 1), segmentation.ASPPPooling(3, recipe))
    network = segmentation.Segmentation(Strided(), head, nn.Conv2d(3, 4, 1)).eval()
    model = nd_deploy.export(network, torch.randn(1, 3, 40, 36), dynamic_spatial=True)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    # Ratios of 2 and 4 leave nothing to round in the coordinates.
    x = torch.randn(2, 3, 24, 60)
    found = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    for output, expected in zip(found, network(x).values(), strict=True):
        np.testing.assert_allclose(output, expected.numpy(), rtol=0, atol=1e-5)
