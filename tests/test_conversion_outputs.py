import json
from collections import OrderedDict, namedtuple
from enum import Enum

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from click.testing import CliRunner
from small_networks import Network, error, in_float64, trained
from torch import nn

import nd_deploy
from nd_deploy.cli.main import main
from nd_deploy.nd.layers import Delinear, FastDeconv

Heads = namedtuple("Heads", "logits mask")
IMAGE = torch.randn(2, 3, 6, 5, generator=torch.Generator().manual_seed(1))


def segmentation(x, backbone, head, auxiliary):
    features = backbone(x).relu()
    return OrderedDict(out=head(features.relu()), aux=auxiliary(features))


def segmentation_network():
    torch.manual_seed(0)
    layers = FastDeconv(3, 8, 3, padding=1), FastDeconv(8, 5, 1), FastDeconv(8, 2, 1)
    return trained(Network(segmentation, *layers), (3, 6, 5))


def one_layer(function):
    torch.manual_seed(0)
    return trained(Network(function, FastDeconv(3, 4, 1)), (3, 6, 5))


def run(bundle, *inputs):
    """Outputs of the model by name, in its order."""
    session = onnxruntime.InferenceSession(str(bundle.model_path))
    feeds = {port.name: x.numpy() for port, x in zip(session.get_inputs(), inputs, strict=True)}
    names = [port.name for port in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


@pytest.fixture(scope="module")
def dictionary(tmp_path_factory):
    """A network that returns a dict, and its bundle."""
    network = segmentation_network()
    folder = tmp_path_factory.mktemp("outputs") / "out"
    return network, nd_deploy.convert(network, IMAGE, folder, keep_unfolded=True)


def test_a_dict_gives_outputs_that_are_named_by_its_keys_in_order(dictionary):
    network, bundle = dictionary
    found, truth = run(bundle, IMAGE), in_float64(network, IMAGE)
    assert list(found) == list(truth) == ["out", "aux"]
    for name, expected in truth.items():
        assert error(found[name], expected) < 1e-6
    assert [(port.name, port.shape) for port in bundle.manifest.outputs] == [
        ("out", ("batch", 5, 6, 5)),
        ("aux", ("batch", 2, 6, 5)),
    ]


def test_named_outputs_are_verified_in_the_order_of_the_record(dictionary):
    network, bundle = dictionary
    truth = list(in_float64(network, IMAGE).values())
    recorded = bundle.reference()
    assert all(error(recorded[f"float64/{index}"], y) < 1e-13 for index, y in enumerate(truth))
    verification = nd_deploy.verify(bundle.path, per_layer=True)
    assert verification.report.passed
    assert not any(gate.recorded for gate in verification.report.gates)
    assert all(layer.passed for layer in verification.layers)


def test_arrays_come_out_of_the_command_line_under_their_names(dictionary, tmp_path):
    network, bundle = dictionary
    np.savez(tmp_path / "in.npz", input=IMAGE.numpy())
    command = ["run", bundle.path, "--npz", tmp_path / "in.npz", "--output", tmp_path / "o.npz"]
    result = CliRunner().invoke(main, [*map(str, command), "--json"])
    assert result.exit_code == 0, result.output
    assert [o["name"] for o in json.loads(result.stdout)["outputs"]] == ["out", "aux"]
    truth = in_float64(network, IMAGE)
    with np.load(tmp_path / "o.npz") as arrays:
        assert all(error(arrays[name], truth[name]) < 1e-6 for name in truth)


def test_an_auxiliary_head_that_is_none_is_left_out(tmp_path):
    network = one_layer(lambda x, f: {"aux": None, "out": f(x), "more": (None, x + 1)})
    bundle = nd_deploy.convert(network, IMAGE, tmp_path / "out")
    truth, found = in_float64(network, IMAGE), run(bundle, IMAGE)
    assert list(found) == ["out", "more.1"]
    assert error(found["out"], truth["out"]) < 1e-6
    assert error(found["more.1"], truth["more"][1]) < 1e-6


def test_a_named_tuple_gives_outputs_that_are_named_by_its_fields(tmp_path):
    network = one_layer(lambda x, f: [Heads(f(x), f(x).relu()), x * 2])
    bundle = nd_deploy.convert(network, IMAGE, tmp_path / "out")
    (logits, mask), twice = in_float64(network, IMAGE)
    truth = {"output_0.logits": logits, "output_0.mask": mask, "output_1": twice}
    found = run(bundle, IMAGE)
    assert list(found) == list(truth)
    assert all(error(found[name], truth[name]) < 1e-6 for name in truth)


class Key(Enum):
    """A key that is no string."""

    DEPTH = 1


def every_kind_of_key(x, f):
    y = f(x)
    keys = ["input", "relu", "_symbolic", "layers.0.weight", "", 7, Key.DEPTH, (1, 2), "\x1b\ud800"]
    return {key: (y.relu() * scale).relu() for scale, key in enumerate(keys, 1)}


def test_keys_that_are_no_names_or_are_taken_inside_the_graph_still_work(tmp_path):
    network = one_layer(every_kind_of_key)
    bundle = nd_deploy.convert(network, IMAGE, tmp_path / "out", keep_unfolded=True)
    found = run(bundle, IMAGE)
    assert list(found) == [
        "input_1", "relu", "_symbolic", "layers.0.weight", "output", "output_7", "DEPTH",
        "output_1", "__",
    ]  # fmt: skip
    for actual, truth in zip(found.values(), in_float64(network, IMAGE).values(), strict=True):
        assert error(actual, truth) < 1e-6
    assert nd_deploy.verify(bundle.path).report.passed
    onnx.checker.check_model(bundle.model_path, full_check=True)


def test_tensors_that_are_returned_twice_or_are_not_computed_are_outputs_of_their_own(tmp_path):
    def odd(x, f):
        y = f(x)
        return {"y": y, "again": y, "x": x, "w": f.weight, "ones": torch.ones(3), "i": y.argmax(1)}

    network = one_layer(odd)
    bundle = nd_deploy.convert(network, IMAGE, tmp_path / "out")
    found, truth = run(bundle, IMAGE), in_float64(network, IMAGE)
    assert list(found) == list(truth)
    assert all(error(found[name], truth[name].detach()) < 1e-6 for name in truth)
    assert found["i"].dtype == np.int64


class Pair(nn.Module):
    """Two inputs of different shapes, three outputs."""

    def __init__(self):
        super().__init__()
        self.image, self.points = FastDeconv(3, 4, 3, padding=1), Delinear(6, 4)
        self.mixed = FastDeconv(4, 2, 1)

    def forward(self, image, points):
        maps, vector = self.image(image).relu(), self.points(points)
        mixed = self.mixed(maps * vector[:, :, None, None])
        return mixed, {"points": vector, "image": maps}


def test_several_inputs_and_outputs_go_the_whole_way(tmp_path):
    torch.manual_seed(2)
    network = trained(Pair(), (3, 6, 5), (6,))
    points = torch.randn(2, 6)
    bundle = nd_deploy.convert(network, (IMAGE, points), tmp_path / "out", keep_unfolded=True)
    found, (mixed, maps) = run(bundle, IMAGE, points), in_float64(network, IMAGE, points)
    truth = {"output_0": mixed, "output_1.points": maps["points"], "output_1.image": maps["image"]}
    assert list(found) == list(truth)
    assert all(error(found[name], truth[name]) < 1e-6 for name in truth)
    assert [port.name for port in bundle.manifest.inputs] == ["input_0", "input_1"]
    assert nd_deploy.verify(bundle.path, per_layer=True).report.passed
