"""What a ChannelDeconv computes with in evaluation: eps, and buffers that may hold NaN."""

import pytest
import torch

from nd_deploy import models
from nd_deploy.errors import CheckpointError

CHANNEL_DECONV = {"head": "channel_deconv"}


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        # 1280 channels; 176 and 320 are fewer than a block; 784 pixels; 80 channels.
        ("mobilenet_v2", CHANNEL_DECONV, [("deconv1", 1280, 512)]),
        ("mobilenet_v2", {"norm": "bn", **CHANNEL_DECONV}, [("deconv1", 1280, 512)]),
        ("mobilenet_v2", {"block_fc": 256, **CHANNEL_DECONV}, []),
        ("mobilenet_v2", {"head": "delinear"}, []),
        ("pnasnet_a", CHANNEL_DECONV, [("deconv1", 176, 512)]),
        ("efficientnet_b0", CHANNEL_DECONV, [("deconv1", 320, 512)]),
        ("resnet18", CHANNEL_DECONV, []),
        ("resnet18", {"block_fc": 1000, **CHANNEL_DECONV}, [("deconv1", 512, 1000)]),
        ("vgg16", {"block_fc": 96, **CHANNEL_DECONV}, [("channel_deconv", 512, 96)]),
        (
            "vgg11_imagenet",
            {"block_fc": 1024, **CHANNEL_DECONV},
            [("classifier.0", 25088, 1024)],
        ),
        ("densenet121_imagenet", CHANNEL_DECONV, []),
        ("fcn_resnet50", {}, []),
        ("mlp", {}, [("layers.0.0", 784, 32)]),
        ("digits", {}, [("deconv1", 80, 32)]),
        ("digits", {"block_fc": 40}, []),
    ],
)
def test_only_channels_that_are_left_over_depend_on_eps(name, options, expected):
    found = [(layer.layer, layer.channels, layer.block) for layer in
             models.leftovers(name, **options)]  # fmt: skip
    assert found == expected


def test_an_unknown_eps_is_asked_for_by_name():
    with pytest.raises(CheckpointError) as caught:
        models.require_eps("mobilev2", CHANNEL_DECONV)
    assert "deconv1, where blocks of 512 leave 256 of 1280 over" in caught.value.problem
    assert "--set eps=1e-5 for the default of the authors' main.py" in caught.value.remedy
    assert "--set eps=1e-2 for the default of ChannelDeconv itself" in caught.value.remedy


def test_several_layers_are_named_each():
    options = {"block_fc": 1000, **CHANNEL_DECONV}
    with pytest.raises(CheckpointError, match=r"classifier\.0(.)*; classifier\.4(.)*classifier\.8"):
        models.require_eps("vgg11_imagenet", options)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mobilenet_v2", {"eps": 1e-3, **CHANNEL_DECONV}),
        ("mobilenet_v2", {"head": "delinear"}),
        ("resnet18", CHANNEL_DECONV),
        # Their only scripts have no option for it.
        ("mlp", {}),
        ("digits", {}),
    ],
)
def test_an_eps_that_is_known_or_without_effect_is_not_asked_for(name, options):
    models.require_eps(name, options)


def damaged(name, key, **options):
    with torch.device("meta"):
        network = models.build(name, **options)
    state = {k: torch.zeros(t.shape, dtype=t.dtype) for k, t in network.state_dict().items()}
    state[key].fill_(torch.nan)
    return name, options, state


@pytest.mark.parametrize(
    ("name", "key", "options"),
    [
        ("pnasnet_a", "deconv1.running_deconv", CHANNEL_DECONV),
        ("pnasnet_a", "deconv1.running_mean1", CHANNEL_DECONV),
        ("digits", "deconv1.running_var", {"block_fc": 40}),
        ("mlp", "layers.1.1.running_mean2", {}),
    ],
)
def test_nan_in_a_buffer_that_is_never_read_is_legal(name, key, options):
    models.require_finite(*damaged(name, key, **options))


@pytest.mark.parametrize(
    ("name", "key", "options"),
    [
        ("pnasnet_a", "deconv1.running_var", CHANNEL_DECONV),
        ("pnasnet_a", "deconv1.running_deconv", {"block_fc": 176, **CHANNEL_DECONV}),
        ("digits", "deconv1.running_deconv", {}),
        ("digits", "deconv1.running_mean2", {}),
        ("digits", "conv1.running_deconv", {}),
        ("mlp", "layers.0.0.running_var", {}),
        ("vgg11", "features.1.running_var", {"norm": "bn"}),
    ],
)
def test_nan_in_what_is_read_is_refused_by_its_key(name, key, options):
    with pytest.raises(CheckpointError, match="NaN or Inf") as caught:
        models.require_finite(*damaged(name, key, **options))
    assert caught.value.problem.endswith(f"computes with: {key}")
