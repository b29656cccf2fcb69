import dataclasses

import numpy as np
import onnx
import pytest
import torch
from small_networks import tiny_network

import nd_deploy
from nd_deploy.errors import BundleError, GraphError, InputError
from nd_deploy.profiling.gather import gather


@pytest.fixture(scope="module")
def network():
    return tiny_network()


@pytest.fixture(scope="module")
def bundle(network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("gather") / "tiny"
    return nd_deploy.convert(network, torch.randn(3, 3, 4, 4), folder).path


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "made").mkdir()
    return tmp_path / "made"


def renamed(bundle, path, name="x", size=4):
    model = onnx.load(bundle / "model.onnx")
    old = model.graph.input[0].name
    model.graph.input[0].name = name
    model.graph.input[0].type.tensor_type.shape.dim[3].dim_value = size
    for node in model.graph.node:
        node.input[:] = [name if item == old else item for item in node.input]
    onnx.save(model, path)
    return path


def test_a_bundle_takes_part_under_its_folders_name(bundle, folder):
    (entry,) = gather([bundle], [], ["ort-cpu"], folder)
    assert (entry.name, entry.record.kind, entry.record.path) == ("tiny", "bundle", str(bundle))
    manifest = nd_deploy.read_bundle(bundle).manifest
    assert entry.record.sha256 == manifest.files["model.onnx"]
    assert entry.file("ort-cpu") == bundle / "model.onnx"
    assert entry.nd_layers == ("0",)
    assert entry.network is None


def test_the_naive_export_is_the_baseline_and_computes_the_same(bundle, network, folder):
    naive, folded = gather([bundle], ["naive"], ["ort-cpu"], folder, network)
    assert [e.name for e in (naive, folded)] == ["naive", "tiny"]
    assert naive.record.path is None
    feeds = naive.feeds(5)
    (y,) = nd_deploy.open_runner(naive.file("ort-cpu"), "ort-cpu").run(feeds).values()
    (truth,) = naive.truth(5)
    np.testing.assert_allclose(y, truth, rtol=1e-5, atol=1e-6 * np.abs(truth).max())
    with torch.no_grad():
        expected = network.eval()(torch.from_numpy(*feeds.values()))
    np.testing.assert_allclose(truth, expected.numpy(), rtol=1e-4, atol=1e-5)


def test_pytorch_is_given_the_network_and_nothing_else_is(bundle, network, folder):
    (entry,) = gather([bundle], [], ["torch", "ort-cpu"], folder, network)
    assert entry.network.load() is not network
    with pytest.raises(InputError, match="does not tell how its network is built"):
        gather([bundle], [], ["torch"], folder)


def test_a_file_is_given_the_bundles_inputs_by_place_where_names_differ(bundle, folder, tmp_path):
    path = renamed(bundle, tmp_path / "other.onnx")
    other, _ = gather([bundle], [path], ["ort-cpu"], folder)
    assert (other.name, other.record.kind) == ("other.onnx", "onnx")
    assert list(other.feeds(2)) == ["x"]


def test_a_file_of_other_inputs_is_refused(bundle, folder, tmp_path):
    path = renamed(bundle, tmp_path / "other.onnx", size=5)
    with pytest.raises(InputError, match=r"other.onnx reads 'x' float32 .*none of the inputs of"):
        gather([bundle], [path], ["ort-cpu"], folder)


def test_a_file_that_is_missing_or_no_model_is_refused_by_name(bundle, folder, tmp_path):
    with pytest.raises(InputError, match=r"--against .*gone\.onnx: there is no such file"):
        gather([bundle], [tmp_path / "gone.onnx"], ["ort-cpu"], folder)
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(GraphError, match=r"--against .*text\.onnx is no ONNX model"):
        gather([bundle], [tmp_path / "text.onnx"], ["ort-cpu"], folder)


def test_bundles_of_one_name_are_told_apart_by_their_paths(bundle, folder, tmp_path):
    copy = tmp_path / "tiny"
    copy.symlink_to(bundle)
    entries = gather([bundle, copy / "..", copy][::2], [], ["ort-cpu"], folder)
    assert [entry.name for entry in entries] == [str(bundle), str(copy)]
    with pytest.raises(InputError, match="two models are called"):
        gather([bundle, bundle], [], ["ort-cpu"], folder)


def test_a_model_for_tensorrt_alone_is_given_its_bodies_for_onnx_runtime(network, folder, tmp_path):
    path = tmp_path / "engine"
    nd_deploy.convert(network, torch.randn(2, 3, 4, 4), path, target="tensorrt<=10.6")
    (entry,) = gather([path], [], ["ort-cpu", "tensorrt"], folder)
    assert entry.file("tensorrt") == path / "model.onnx"
    assert entry.file("ort-cpu").parent == folder
    assert dataclasses.asdict(entry.record)["sha256"]


def test_there_has_to_be_a_bundle_and_it_has_to_be_one(folder, tmp_path):
    with pytest.raises(InputError, match="there is nothing to measure"):
        gather([], [], ["ort-cpu"], folder)
    with pytest.raises(BundleError, match="does not exist"):
        gather([tmp_path / "gone"], [], ["ort-cpu"], folder)


def test_one_network_or_checkpoint_is_of_one_bundle(bundle, network, folder, tmp_path):
    with pytest.raises(InputError, match="one network is given, and 2 bundles"):
        gather([bundle, bundle], [], ["torch"], folder, network)
    with pytest.raises(InputError, match=r"--checkpoint .* is given, and 2 bundles"):
        gather([bundle, bundle], [], ["torch"], folder, None, tmp_path / "best.pth")
