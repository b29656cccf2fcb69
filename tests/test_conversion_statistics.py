"""Networks that are to whiten by the statistics of each batch at inference."""

import copy
import json

import numpy as np
import onnx
import pytest
import torch
from small_networks import error, in_onnxruntime, trained
from torch import nn

import nd_deploy
from nd_deploy.errors import InputError, UnsupportedLayerError
from nd_deploy.nd.layers import ChannelDeconv, Delinear, FastDeconv
from nd_deploy.targets import TARGETS

X = torch.randn(6, 3, 12, 10, generator=torch.Generator().manual_seed(1)) + 0.5


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return trained(
        nn.Sequential(
            FastDeconv(3, 8, 3, padding=1, freeze=True),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Dropout(0.5),
            FastDeconv(8, 6, 1),
            nn.ReLU(),
            ChannelDeconv(4),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            Delinear(6, 5, block=2),
        ),
        (3, 12, 10),
    )


def by_the_batch(network, x):
    """What PyTorch computes in float64 with only the ND layers in training mode."""
    wide = copy.deepcopy(network).eval().double()
    for layer in wide:
        if isinstance(layer, (FastDeconv, ChannelDeconv, Delinear)):
            layer.train()
            if isinstance(layer, FastDeconv):
                layer.freeze = False
    with torch.no_grad():
        return wide(x.double())


@pytest.mark.parametrize("target", TARGETS)
def test_outputs_are_those_of_layers_in_training_mode_at_any_batch(network, target, tmp_path):
    before = copy.deepcopy(network.state_dict())
    bundle = nd_deploy.convert(network, X, tmp_path / "out", statistics="batch", target=target)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert bundle.manifest.batch_dependent
    assert any("depend on what else is in the batch" in warning for warning in bundle.warnings)
    assert nd_deploy.verify(bundle.path, per_layer=True).report.passed
    if target == "tensorrt<=10.6":
        return  # which ONNX Runtime does not read as it is
    for x in (X, X[:3].flip(0) * 2):
        (y,) = in_onnxruntime(bundle.model_path, x)
        single = error(by_the_batch(network, x).float(), by_the_batch(network, x))
        assert error(y, by_the_batch(network, x)) < max(10 * single, 2e-5)


def test_every_layer_says_that_it_whitens_by_the_batch(network, tmp_path):
    bundle = nd_deploy.convert(network, X, tmp_path / "out", statistics="batch")
    found = {d["layer"]: (d["op_type"], d["action"]) for d in bundle.decisions}
    assert {layer: kind for layer, kind in found.items() if layer != "1"} == {
        "0": ("NDFastDeconvDynamic", "batch"),
        "4": ("NDFastDeconvDynamic", "batch"),
        "6": ("NDChannelDeconvDynamic", "batch"),
        "10": ("NDDelinearDynamic", "batch"),
    }
    assert bundle.manifest.nd_layers == 4
    model = onnx.load(bundle.model_path)
    convs = [node for node in model.graph.node if node.op_type == "Conv"]
    assert [node.name for node in convs] == ["0", "4"]
    # TensorRT 10.3 infers it wrongly for weights that are computed.
    assert all("kernel_shape" in {a.name for a in node.attribute} for node in convs)
    # Running statistics are neither used nor kept, but for those of the batch normalisation, which
    # does not fold into a weight that is computed.
    running = {tensor.name for tensor in model.graph.initializer if "running" in tensor.name}
    assert running == {"1.running_mean", "1.running_var"}
    assert "spectra.npz" not in bundle.manifest.files


def test_the_manifest_of_an_ordinary_bundle_says_that_batches_are_independent(network, tmp_path):
    bundle = nd_deploy.convert(network, X, tmp_path / "out")
    assert json.loads((bundle.path / "manifest.json").read_text())["batch_dependent"] is False
    rows = [in_onnxruntime(bundle.model_path, x)[0] for x in (X, X[:1])]
    np.testing.assert_allclose(rows[0][:1], rows[1], rtol=0, atol=1e-6 * np.abs(rows[0]).max())


def test_a_layer_that_does_not_say_its_settings_is_refused_by_name(tmp_path):
    class Silent(FastDeconv):
        """Knows its statistics and not how they were made."""

        def __init__(self):
            super().__init__(3, 4, 1)
            del self.n_iter

    network = nn.Sequential(nn.Identity(), Silent())
    with pytest.raises(UnsupportedLayerError, match=r"layer 1 \(Silent\)"):
        nd_deploy.convert(network, X, tmp_path / "out", statistics="batch")
    assert not (tmp_path / "out").exists()


def test_other_statistics_are_refused(network, tmp_path):
    with pytest.raises(InputError, match="statistics 'instance' are not known"):
        nd_deploy.convert(network, X, tmp_path / "out", statistics="instance")
