"""Bundles for each kind of host, of a network whose ChannelDeconv cannot fold."""

import onnx
import pytest
import torch
from checked_conversion import MAPS, trained_on_maps
from small_networks import error, in_float64
from torch import nn

import nd_deploy
from nd_deploy.errors import InputError
from nd_deploy.nd.layers import ChannelDeconv, FastDeconv
from nd_deploy.targets import TARGETS


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(6)
    return trained_on_maps(
        lambda x, a, white, b: b(torch.relu(white(torch.sigmoid(a(x))))),
        FastDeconv(4, 6, 3, padding=1),
        ChannelDeconv(4),
        nn.Conv2d(6, 3, 1),
    )


def nodes(bundle):
    return [node.op_type for node in onnx.load(bundle.model_path).graph.node]


@pytest.mark.parametrize("target", [name for name in TARGETS if name != "inlined"])
def test_a_layer_that_cannot_fold_is_left_to_the_plugin_where_that_is_asked(
    network, target, tmp_path
):
    bundle = nd_deploy.convert(
        network, MAPS, tmp_path / "out", target=target, whitening="plugin", keep_unfolded=True
    )
    assert nodes(bundle) == ["Conv", "Sigmoid", "NDChannelDeconvLeftoverRelu", "Conv"]
    assert bundle.manifest.target == target
    assert [d["action"] for d in bundle.decisions] == ["folded", "plugin"]
    # The bundle proves itself where there is no plugin, by the node's body.
    verification = nd_deploy.verify(bundle.path, per_layer=True)
    assert verification.report.passed
    # The activation is in the node, so that the layer's own output is nowhere to compare.
    assert [layer.layer for layer in verification.layers] == ["layers.0"]


@pytest.mark.parametrize("target", TARGETS)
def test_otherwise_it_is_a_1x1_convolution_for_every_target(network, target, tmp_path):
    bundle = nd_deploy.convert(network, MAPS, tmp_path / "out", target=target)
    assert nodes(bundle) == ["Conv", "Sigmoid", "Conv", "Relu", "Conv"]
    assert nd_deploy.read_bundle(bundle.path).manifest.target == target


def test_a_bundle_with_a_plugins_op_computes_what_the_network_does(network, tmp_path):
    from nd_deploy.runtime.onnxruntime import OnnxRuntimeRunner

    bundle = nd_deploy.convert(network, MAPS, tmp_path / "out", whitening="plugin")
    x = MAPS[:2].flip(0) + 0.5
    (y,) = OnnxRuntimeRunner(bundle.model_path).run({"input": x.numpy()}).values()
    assert error(y, in_float64(network, x)) < 1e-6


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"target": "jetson"}, "there is no target 'jetson'"),
        ({"whitening": "gemm"}, "whitening 'gemm' is not known"),
        ({"target": "inlined", "whitening": "plugin"}, "the target inlined has standard ops alone"),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_is_done(
    network, options, problem, tmp_path
):
    with pytest.raises(InputError, match=problem):
        nd_deploy.convert(network, MAPS, tmp_path / "out", **options)
    assert not list(tmp_path.iterdir())
