import copy
import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from small_networks import (
    error,
    in_float64,
    in_onnxruntime,
    small_network,
    tiny_network,
    trained,
)
from torch import nn

import nd_deploy
from nd_deploy import models
from nd_deploy.nd.layers import FastDeconv

REFERENCE = Path(__file__).parent / "reference"
ROUNDING = 2.0**-24
BROUGHT_IN_BY_ND = {"MatMul", "Transpose", "Sub", "Shape", "Identity"}


@pytest.fixture(scope="module")
def images():
    return torch.randn(4, 3, 9, 11, generator=torch.Generator().manual_seed(5))


@pytest.fixture(scope="module")
def network():
    return small_network()


@pytest.fixture(scope="module")
def bundle(network, images, tmp_path_factory):
    """Of a network in training mode."""
    return nd_deploy.convert(
        network,
        images,
        tmp_path_factory.mktemp("converted") / "out",
        network="small",
        labels=["a", "b", "c", "d", "e"],
        checkpoint={"name": "best.pth.tar", "sha256": "00", "format": "main.py", "arch": None},
        keep_unfolded=True,
        seed=5,
        command="nd-deploy convert",
    )


def ops(bundle):
    return [node.op_type for node in onnx.load(bundle.model_path).graph.node]


def actions(bundle):
    return [decision["action"] for decision in bundle.decisions]


@pytest.mark.parametrize(("name", "nd_layers"), [("mlp", 3), ("mobilev2_cd", 58)])
def test_a_checkpoint_of_the_authors_becomes_the_network_that_they_evaluated(
    name, nd_layers, tmp_path
):
    checkpoint = nd_deploy.read_checkpoint(REFERENCE / f"{name}.pth.tar")
    options = models.options_from_state_dict(checkpoint.arch, checkpoint.state_dict)
    network = models.build(checkpoint.arch, **options)
    nd_deploy.load_into(network, checkpoint)
    with np.load(REFERENCE / f"{name}.npz") as official:
        x, truth, float32 = (official[key] for key in ("x", "logits_f64", "logits_f32"))
    bundle = nd_deploy.convert(network, torch.from_numpy(x), tmp_path / "out")

    assert len(bundle.decisions) == bundle.manifest.nd_layers == nd_layers
    assert set(actions(bundle)) <= {"folded", "forward", "backward"}
    assert not set(ops(bundle)) & BROUGHT_IN_BY_ND
    assert not any(node.domain for node in onnx.load(bundle.model_path).graph.node)
    assert bundle.warnings == []

    fold, storage, backend = bundle.parity.gates
    assert fold.error <= 1e-10
    assert fold.compares == "folded graph in float64 against PyTorch in float64"
    assert storage.error <= storage.budget <= max(2 * error(float32, truth), 4 * ROUNDING) * 1.01
    assert backend.error <= backend.budget

    (logits,) = in_onnxruntime(bundle.model_path, torch.from_numpy(x))
    # ONNX Runtime's own Sigmoid is off by more than the authors' float32.
    assert error(logits, truth) <= max(2 * error(float32, truth), 16 * ROUNDING)
    assert (logits.argmax(1) == truth.argmax(1)).all()
    assert bundle.parity.top1_agreement == 1.0
    assert error(bundle.reference()["float64/0"], truth) < 1e-12


def test_a_bundle_holds_the_model_its_record_and_the_proof(bundle):
    names = {"model.onnx", "unfolded.onnx", "fold.json", "parity.json", "reference.npz"}
    names |= {"spectra.npz"}
    assert {path.name for path in bundle.path.iterdir()} == {*names, "manifest.json"}
    assert [path.name for path in bundle.path.parent.iterdir()] == ["out"]
    manifest = json.loads((bundle.path / "manifest.json").read_text())
    assert manifest["files"] == {
        name: hashlib.sha256((bundle.path / name).read_bytes()).hexdigest() for name in names
    }
    assert (manifest["network"], manifest["nd_layers"], manifest["seed"]) == ("small", 4, 5)
    assert manifest["labels"] == ["a", "b", "c", "d", "e"]
    assert manifest["checkpoint"]["name"] == "best.pth.tar"
    assert manifest["command"] == "nd-deploy convert"
    assert manifest["precision"] == "float32"
    assert manifest["inputs"][0] == {
        "name": "input", "dtype": "float32", "shape": ["batch", 3, 9, 11],
    }  # fmt: skip
    again = nd_deploy.read_bundle(bundle.path)
    assert (again.manifest, again.decisions) == (bundle.manifest, bundle.decisions)
    assert again.parity.as_dict() == json.loads(json.dumps(bundle.parity.as_dict()))
    onnx.checker.check_model(bundle.model_path, full_check=True)


def test_every_nd_layer_is_in_the_record_with_where_it_went(bundle):
    found = {decision["layer"]: decision["action"] for decision in bundle.decisions}
    assert found == {"0": "folded", "2": "folded", "4": "forward", "7": "folded"}
    nodes = {node.name for node in onnx.load(bundle.model_path).graph.node}
    assert all(name in nodes for decision in bundle.decisions for name in decision["into"])


def test_the_deployed_model_computes_what_pytorch_computes_in_eval_mode(bundle, network):
    x = torch.randn(7, 3, 9, 11)
    (y,) = in_onnxruntime(bundle.model_path, x)
    assert error(y, in_float64(network, x)) < 1e-6
    assert ops(bundle).count("Conv") == 2
    assert not set(ops(bundle)) & BROUGHT_IN_BY_ND


def test_the_unfolded_model_is_kept_on_request_and_runs(bundle, network, images):
    unfolded = onnx.load(bundle.unfolded_path)
    kinds = [node.op_type for node in unfolded.graph.node if node.domain == "nd_deploy"]
    assert kinds == ["NDFastDeconv", "NDFastDeconv", "NDChannelDeconvLeftover", "NDDelinear"]
    (y,) = in_onnxruntime(bundle.unfolded_path, images)
    assert error(y, in_float64(network, images)) < 1e-6


def test_the_users_network_and_input_are_left_as_they_were(images, tmp_path):
    network = tiny_network()
    network[0].weight.requires_grad_(False)
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    places = {name: tensor.data_ptr() for name, tensor in network.state_dict().items()}
    x = images[:, :, :4, :4].clone()
    nd_deploy.convert(network, x, tmp_path / "out")
    assert all(module.training for module in network.modules())
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, state[name])
        assert (tensor.dtype, tensor.data_ptr()) == (torch.float32, places[name])
    assert not network[0].weight.requires_grad
    assert network[0].bias.requires_grad
    for module in network.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
    assert torch.equal(x, images[:, :, :4, :4])


def test_a_network_that_writes_to_its_input_and_buffers_is_proven_all_the_same(tmp_path):
    class Normalising(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = FastDeconv(3, 4, 1)
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x):
            self.calls += 1
            return self.layer(x.sub_(0.5).mul_(4.0))

    torch.manual_seed(1)
    network = trained(Normalising(), (3, 4, 4))
    x = torch.randn(2, 3, 4, 4)
    before, calls = x.clone(), network.calls.clone()
    bundle = nd_deploy.convert(network, x, tmp_path / "out")
    assert torch.equal(x, before)
    assert torch.equal(network.calls, calls)
    # Were the second forward to see what the first has written, the budget would be about 1.
    assert bundle.parity.gates[1].budget < 1e-5
    (y,) = in_onnxruntime(bundle.model_path, x)
    assert error(y, in_float64(network, x)) < 1e-6


def test_several_inputs_and_nested_outputs_keep_their_order(tmp_path):
    class Several(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right = FastDeconv(3, 4, 1), FastDeconv(2, 4, 1)

        def forward(self, *pair):
            left, right = self.left(pair[0]), self.right(pair[1])
            return {"sum": left + right, "none": None, "parts": (left, [right, pair[1], left])}

    torch.manual_seed(2)
    network = trained(Several(), (3, 5, 5), (2, 5, 5))
    inputs = torch.randn(2, 3, 5, 5), torch.randn(2, 2, 5, 5)
    bundle = nd_deploy.convert(network, inputs, tmp_path / "out")
    assert [port.name for port in bundle.manifest.inputs] == ["input_0", "input_1"]
    names = ["sum", "parts.0", "parts.1.0", "parts.1.1", "parts.1.2"]
    assert [port.name for port in bundle.manifest.outputs] == names
    assert bundle.parity.top1_agreement is None
    truth = in_float64(network, *inputs)
    left, (right, given, again) = truth["parts"]
    found = in_onnxruntime(bundle.model_path, *inputs)
    for actual, expected in zip(found, (truth["sum"], left, right, given, again), strict=True):
        assert error(actual, expected) < 1e-6
    assert nd_deploy.verify(bundle.path).report.passed


def test_a_network_without_nd_layers_is_converted_with_a_warning(tmp_path):
    torch.manual_seed(3)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    trained(network, (3, 6, 6))
    bundle = nd_deploy.convert(network, torch.randn(2, 3, 6, 6), tmp_path / "out")
    assert bundle.manifest.nd_layers == 0
    assert any("no ND layer" in warning for warning in bundle.warnings)
    assert ops(bundle) == ["Conv", "Relu"]


def test_an_untrained_network_with_a_fixed_batch_of_one_is_converted_with_a_warning(tmp_path):
    network = nn.Sequential(nn.ReLU(), FastDeconv(3, 4, 3))
    x = torch.randn(1, 3, 6, 6)
    bundle = nd_deploy.convert(network, x, tmp_path / "out", dynamic_batch=False)
    (warning,) = bundle.warnings
    assert "layer 1: D is the identity" in warning
    assert bundle.manifest.inputs[0].shape == (1, 3, 6, 6)
    assert bundle.manifest.outputs[0].shape == (1, 4, 4, 4)
    assert bundle.unfolded_path is None
    (y,) = in_onnxruntime(bundle.model_path, x)
    assert error(y, in_float64(network, x)) < 1e-6


def test_any_image_size_is_taken_on_request(network, images, tmp_path):
    bundle = nd_deploy.convert(network, images, tmp_path / "out", dynamic_spatial=True)
    assert bundle.manifest.inputs[0].shape == ("batch", 3, "height", "width")
    for batch, height, width in ((1, 16, 5), (3, 9, 11), (2, 6, 6)):
        x = torch.randn(batch, 3, height, width)
        (y,) = in_onnxruntime(bundle.model_path, x)
        assert error(y, in_float64(network, x)) < 1e-6
    assert not set(ops(bundle)) & BROUGHT_IN_BY_ND


def test_a_bundle_is_replaced_when_that_is_asked_for(bundle, network, images, tmp_path):
    first = copy.deepcopy(bundle.manifest)
    nd_deploy.convert(tiny_network(), images, tmp_path / "out")
    again = nd_deploy.convert(network, images, tmp_path / "out", overwrite=True)
    assert (again.path / "model.onnx").read_bytes() == bundle.model_path.read_bytes()
    assert again.manifest.files["model.onnx"] == first.files["model.onnx"]
    assert not (again.path / "unfolded.onnx").exists()
