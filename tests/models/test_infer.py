"""Telling the options of a network from its state dict."""

import pytest
import torch

from nd_deploy import models
from nd_deploy.errors import CheckpointError, InputError


def state_dict(name, **options):
    with torch.device("meta"):
        return models.build(name, **options).state_dict()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vgg11", {"num_classes": 100, "head": "linear", "block": 32}),
        ("vgg11", {"norm": "bn", "head": "delinear", "block_fc": 48}),
        ("resnet18", {"block": 48, "head": "channel_deconv", "block_fc": 1000}),
        ("resnet18", {"block": 1000, "head": "delinear", "block_fc": 96}),
        ("resnet50", {"norm": "bn", "head": "channel_deconv", "block_fc": 1}),
        ("mobilenet_v2", {"block": 1, "head": "delinear", "block_fc": 1}),
        ("mobilenet_v2", {"block": 96, "head": "channel_deconv", "block_fc": 100}),
        ("preact_resnet18", {"block": 24, "head": "delinear", "block_fc": 32}),
        ("preact_resnet18", {"norm": "bn", "head": "linear"}),
        ("senet18", {"block": 4, "head": "channel_deconv", "block_fc": 64}),
        ("senet18", {"norm": "bn", "head": "delinear", "num_classes": 100}),
        ("resnext29", {"block": 128, "head": "linear"}),
        ("resnext29", {"norm": "bn", "head": "channel_deconv"}),
        ("densenet121", {"block": 32, "head": "channel_deconv", "block_fc": 1000}),
        ("densenet121", {"norm": "bn", "head": "delinear", "block_fc": 1024}),
        ("dpn92", {"block": 96, "head": "delinear", "block_fc": 320}),
        ("dpn92", {"norm": "bn", "head": "channel_deconv", "block_fc": 2000}),
        ("pnasnet_a", {"block": 4, "head": "delinear", "block_fc": 44}),
        ("pnasnet_a", {"norm": "bn", "head": "channel_deconv"}),
        ("pnasnet_b", {"block": 1000, "head": "channel_deconv", "block_fc": 48}),
        ("efficientnet_b0", {"block": 1, "head": "delinear", "block_fc": 80}),
        ("efficientnet_b0", {"norm": "bn", "head": "linear", "num_classes": 100}),
        ("mlp", {"block_fc": 16, "num_classes": 1}),
        ("mlp", {"norm": "bn"}),
        ("digits", {"block": 24, "block_fc": 20, "num_classes": 3}),
        ("digits", {"norm": "bn"}),
    ],
)
def test_the_options_found_rebuild_the_network(name, options):
    saved = state_dict(name, **options)
    found = models.options_from_state_dict(name, saved)
    rebuilt = state_dict(name, **found)
    assert {k: v.shape for k, v in rebuilt.items()} == {k: v.shape for k, v in saved.items()}
    told = {key: value for key, value in options.items() if not key.startswith("block")}
    assert told.items() <= found.items()


def test_the_block_of_a_channel_deconv_is_found_exactly():
    saved = state_dict("vgg11", head="channel_deconv", block_fc=1000)
    assert models.options_from_state_dict("vgg11", saved)["block_fc"] == 1000


def test_a_twin_without_the_channel_deconv_asked_for_counts_as_linear():
    saved = state_dict("densenet121", norm="bn", head="channel_deconv")
    found = models.options_from_state_dict("densenet121", saved)
    assert (found["norm"], found["head"]) == ("bn", "linear")


def test_the_random_state_of_the_caller_is_left_alone():
    saved = state_dict("digits")
    before = torch.get_rng_state()
    models.options_from_state_dict("digits", saved)
    assert torch.equal(before, torch.get_rng_state())


def test_keys_of_another_network_are_named():
    with pytest.raises(
        CheckpointError, match=r"not one of resnet18: .* missing, .*features\.0\.bias"
    ):
        models.options_from_state_dict("resnet18", state_dict("vgg11", norm="bn"))


def test_a_prefix_that_was_not_stripped_is_suspected():
    saved = {f"module.{key}": value for key, value in state_dict("mlp").items()}
    with pytest.raises(CheckpointError, match=r"strip a prefix such as 'module\.'"):
        models.options_from_state_dict("mlp", saved)


@pytest.mark.parametrize(
    ("key", "shape", "message"),
    [
        ("conv2.weight", (64, 32, 5, 5), r"conv2\.weight has the shape \(64, 32, 5, 5\)"),
        ("linear.bias", (), r"linear\.bias has the shape \(\) instead of \(10,\)"),
        ("conv2.running_deconv", (10, 10), r"no block explains"),
        ("conv4.running_deconv", (8, 8), r"no block explains"),
    ],
)
def test_a_shape_that_no_options_give_is_refused(key, shape, message):
    saved = {**state_dict("digits"), key: torch.empty(shape, device="meta")}
    with pytest.raises(CheckpointError, match=message):
        models.options_from_state_dict("digits", saved)


def test_an_unknown_network_is_refused():
    with pytest.raises(InputError, match="no network called"):
        models.options_from_state_dict("lenet", {})
