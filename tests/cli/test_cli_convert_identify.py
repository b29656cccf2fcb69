"""Conversion of a checkpoint whose network is not named, or not as it was trained."""

import dataclasses
import importlib
import math
from collections import OrderedDict
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from nd_deploy import models, read_bundle

# Not by attribute: `nd_deploy.convert` is also the function.
CONVERSION = importlib.import_module("nd_deploy.conversion")
TESTS = Path(__file__).parents[1]
DIGITS = TESTS.parent / "models" / "checkpoints" / "digits.pth.tar"
MLP = TESTS / "reference" / "mlp.pth.tar"
MOBILENET = TESTS / "reference" / "mobilev2_cd.pth.tar"
FOLDER = (
    "cifar10,{},ep.1,SGD,0.1,cosine,bs.32,wd.0.001,bn.True,deconv.True,delinear.False,b.64,"
    "stride.3,it.6,eps.0.002,bias.True,bfc.512"
)


@pytest.fixture
def converted(monkeypatch, make_bundle, tmp_path):
    """Let the conversion itself do nothing, and tell what it was asked for."""
    asked = {}
    monkeypatch.chdir(tmp_path)

    def convert(module, example_input, **options):
        asked.update(options, module=module, example_input=example_input)
        return make_bundle("converted", overwrite=True)

    monkeypatch.setattr(CONVERSION, "convert", convert)
    return asked


@pytest.fixture
def refused(invoke, tmp_path, monkeypatch):
    """Convert what is to be refused, and see that nothing is written."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        before = sorted(tmp_path.rglob("*"))
        result = invoke("convert", *arguments, "-o", "out", code=1)
        assert sorted(tmp_path.rglob("*")) == before
        assert result.stdout == ""
        assert "Traceback" not in result.stderr
        return result.stderr[result.stderr.index("error: ") :]

    return run


def in_folder(path, file, arch):
    """A checkpoint where the authors' script would have saved it."""
    folder = path / FOLDER.format(arch) / "11-21-06.43"
    folder.mkdir(parents=True)
    link = folder / "checkpoint.pth.tar"
    link.symlink_to(file)
    return link


def hollow(name, **options):
    """A state dict that takes no room in a file."""
    with torch.device("meta"):
        network = models.build(name, **options)
    return OrderedDict(
        (key, torch.zeros((), dtype=t.dtype).expand(t.shape))
        for key, t in network.state_dict().items()
    )


def saved(path, state_dict, **around):
    torch.save({"state_dict": state_dict, **around}, path / "given.pth.tar")
    return path / "given.pth.tar"


def eps_of(network):
    return {layer.eps for layer in network.modules() if hasattr(layer, "eps")}


@pytest.mark.parametrize(("file", "name"), [(DIGITS, "digits"), (MLP, "mlp")])
def test_a_network_that_is_not_named_is_told_from_its_checkpoint(invoke, converted, file, name):
    stderr = invoke("convert", "--checkpoint", file, "-o", "out").stderr
    assert f"note: the tensors are those of {name} with " in stderr
    assert "norm=nd" in stderr
    assert "num_classes=10" in stderr
    assert converted["network"] == name
    assert converted["example_input"].shape[1:] == models.describe(name).input_shape
    expected = torch.load(file, weights_only=True)["state_dict"]
    found = converted["module"].state_dict()
    assert all(torch.equal(found[key], value) for key, value in expected.items())


def test_the_authors_checkpoint_is_converted_without_a_name(invoke, tmp_path):
    """The whole way, against the logits of the authors' own eval()."""
    invoke("convert", "--checkpoint", MLP, "-o", tmp_path / "out", "--json")
    with np.load(MLP.with_suffix("").with_suffix(".npz")) as official:
        x, truth = official["x"], official["logits_f64"]
    session = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx")
    (logits,) = session.run(None, {"input": x})
    assert np.abs(logits - truth).max() < 1e-5 * np.abs(truth).max()


def test_a_network_that_is_named_is_still_built_as_the_checkpoint_tells(invoke, converted):
    result = invoke("convert", "resnet", "--checkpoint",
                    saved(Path(), hollow("resnet18", head="delinear", block_fc=128)),
                    "-o", "out")  # fmt: skip
    assert "note: the tensors" not in result.stderr
    assert converted["network"] == "resnet"
    assert converted["module"].linear.block == 128


def test_neither_a_network_nor_a_checkpoint_is_wrong_usage(refused):
    assert "give a SOURCE, or the --checkpoint" in refused()


def test_an_eps_that_cannot_be_told_is_asked_for(refused):
    for source in ([], ["mobilev2"], ["mobilenet_v2"]):
        error = refused(*source, "--checkpoint", MOBILENET)
        assert "deconv1, where blocks of 512 leave 256 of 1280 over" in error
        assert "--set eps=1e-5 for the default of the authors' main.py" in error
        assert "--set eps=1e-2 for the default of ChannelDeconv itself" in error


def test_the_eps_that_is_given_is_the_network_s(invoke, converted):
    invoke("convert", "--checkpoint", MOBILENET, "--set", "eps=3e-4", "-o", "out")
    assert eps_of(converted["module"]) == {3e-4}


def test_the_folder_s_name_tells_what_the_tensors_do_not(invoke, converted, tmp_path):
    file = in_folder(tmp_path, MOBILENET, "mobilev2")
    for source in ([], ["mobilev2"]):
        stderr = invoke("convert", *source, "--checkpoint", file, "-o", "out").stderr
        assert "note: the folder's name tells n_iter=6, sampling_stride=3, eps=0.002\n" in stderr
        assert eps_of(converted["module"]) == {2e-3}
        assert converted["module"].deconv1.n_iter == 6


def test_what_the_folder_s_name_tells_is_recorded_for_the_file_may_be_moved(
    invoke, converted, tmp_path
):
    file = in_folder(tmp_path, MOBILENET, "mobilev2")
    invoke("convert", "--checkpoint", file, "--set", "n_iter=9", "-o", "out")
    settings = converted["origin"]["settings"]
    assert (settings["eps"], settings["n_iter"], settings["norm"]) == ("0.002", "9", "'nd'")


def test_set_goes_before_the_folder_s_name(invoke, converted, tmp_path):
    file = in_folder(tmp_path, MOBILENET, "mobilev2")
    settings = ("--set", "eps=0.5", "--set", "n_iter=9")
    stderr = invoke("convert", "--checkpoint", file, *settings, "-o", "out").stderr
    assert "note: the folder's name tells sampling_stride=3\n" in stderr
    assert eps_of(converted["module"]) == {0.5}
    assert converted["module"].deconv1.n_iter == 9


def test_a_folder_of_another_network_is_noted(invoke, converted, tmp_path):
    stderr = invoke(
        "convert", "--checkpoint", in_folder(tmp_path, MLP, "vgg11"), "-o", "out"
    ).stderr
    assert "note: the folder's name says vgg11, but the tensors are those of mlp" in stderr
    assert eps_of(converted["module"]) == {1e-2}


def test_a_segmentation_checkpoint_tells_its_network_and_its_auxiliary_classifier(
    invoke, converted, tmp_path
):
    state = hollow("fcn_resnet50", aux="on", num_classes=19)
    older = {key.replace("backbone.", "backbone.layers."): t for key, t in state.items()}
    torch.save({"model": older, "optimizer": {}, "epoch": 29}, tmp_path / "model.pth")
    stderr = invoke("convert", "--checkpoint", tmp_path / "model.pth", "-o", "out").stderr
    assert "note: prefix 'backbone.layers.' removed from " in stderr
    assert "the tensors are those of fcn_resnet50 with norm=nd, backbone=nd, aux=on" in stderr
    assert "num_classes=19" in stderr
    assert list(converted["module"].state_dict()) == list(state)
    assert converted["checkpoint"]["format"] == "segmentation"


def test_a_vgg_for_imagenet_whose_features_were_parallel_is_told(refused, tmp_path):
    state = hollow("vgg11_imagenet", head="channel_deconv", block_fc=1024)
    mixed = {key.replace("features.", "features.module."): t for key, t in state.items()}
    error = refused("--checkpoint", saved(tmp_path, mixed, arch="vgg11d", best_acc1=1.0))
    assert "vgg11_imagenet computes with an eps" in error


@pytest.mark.parametrize("source", [[], ["digits"]])
def test_another_number_of_classes_is_named_with_its_shapes(refused, source):
    error = refused(*source, "--checkpoint", DIGITS, "--set", "num_classes=7")
    assert str(DIGITS) in error
    assert "linear.weight (expected (7, 80), found (10, 80))" in error
    assert "with 10 classes" in error


def test_another_number_of_classes_in_a_network_of_the_user_is_named_too(
    refused, users_module, tmp_path
):
    users_module(
        "from nd_deploy.models import build\ndef net(): return build('mlp', num_classes=4)\n"
    )
    error = refused("users_net:net", "--input", "1x28x28", "--checkpoint", MLP)
    assert "linear.2.weight (expected (4, 128), found (10, 128))" in error


def test_a_checkpoint_of_another_network_is_told_which(refused):
    error = refused("resnet18", "--checkpoint", MLP)
    assert f"{MLP}: the state dict is not one of resnet18: " in error
    assert " missing, " in error
    assert "it is one of mlp" in error


def test_a_checkpoint_that_no_network_fits_is_answered_with_the_nearest(refused, tmp_path):
    state = hollow("vgg11")
    state["classifier.2.weight"] = state.pop("classifier.weight")
    error = refused("--checkpoint", saved(tmp_path, state))
    assert "fits no network of nd_deploy.models" in error
    assert "vgg11: classifier.weight missing, classifier.2.weight unexpected" in error
    assert "package.module:callable" in error


def test_a_checkpoint_that_two_networks_fit_is_not_guessed(refused, monkeypatch, tmp_path):
    registry = importlib.import_module("nd_deploy.models.registry")
    double = dataclasses.replace(models.describe("mlp"), name="mlp_too")
    monkeypatch.setattr(registry, "NETWORKS", (*registry.NETWORKS, double))
    monkeypatch.setitem(registry._BY_NAME, "mlp_too", double)
    error = refused("--checkpoint", saved(tmp_path, hollow("mlp")))
    assert "fits mlp and mlp_too" in error
    assert "nd-deploy convert NAME" in error


@pytest.mark.parametrize("source", [[], ["digits"]])
@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (DIGITS.read_bytes()[:-2000], "is cut short"),
        (b"", "is empty"),
        (b"not a checkpoint", "is no checkpoint"),
        (None, "does not exist"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_message(refused, tmp_path, source, content, complaint):
    file = tmp_path / "best.pth.tar"
    if content is not None:
        file.write_bytes(content)
    assert complaint in refused(*source, "--checkpoint", file)


@torch.no_grad()
def nan_where_d_is(network):
    """As the authors' training leaves a ChannelDeconv whose block exceeds its channels."""
    for module in network.modules():
        if hasattr(module, "running_mean1"):
            module.running_mean1.fill_(torch.nan)
            module.running_deconv.fill_(torch.nan)
            module.running_mean2.fill_(0.25)
            module.running_var.fill_(0.75)
            module.num_batches_tracked.fill_(9)
    return network


@torch.no_grad()
def test_where_a_block_exceeds_the_channels_d_may_be_nan(invoke, tmp_path):
    torch.manual_seed(0)
    network = nan_where_d_is(models.build("pnasnet_a", head="channel_deconv", block_fc=512))
    file = saved(tmp_path, network.state_dict())
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    np.save(tmp_path / "x.npy", x.numpy())
    invoke("convert", "--checkpoint", file, "--set", "eps=0.05",
           "--reference-inputs", tmp_path / "x.npy", "-o", tmp_path / "out")  # fmt: skip

    seen = []
    network = network.double().eval()
    network.deconv1.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    network(x.double())
    standardised = (seen[0] - 0.25) / math.sqrt(0.75 + 0.05)
    pooled = standardised.mean((2, 3))
    truth = F.linear(pooled, network.linear.weight, network.linear.bias).numpy()
    scale = np.abs(truth).max()
    bundle = read_bundle(tmp_path / "out")
    assert np.abs(bundle.reference()["float64/0"] - truth).max() < 1e-12 * scale
    fold = next(gate for gate in bundle.parity.gates if gate.name == "fold")
    assert fold.error < 1e-12
    session = onnxruntime.InferenceSession(bundle.model_path)
    (logits,) = session.run(None, {"input": x.numpy()})
    assert np.abs(logits - truth).max() < 1e-5 * scale


@pytest.mark.parametrize("source", [[], ["resnet18"]])
def test_where_d_is_read_nan_is_refused_naming_the_layer(refused, tmp_path, source):
    network = nan_where_d_is(models.build("resnet18", head="channel_deconv"))
    error = refused(*source, "--checkpoint", saved(tmp_path, network.state_dict()))
    assert "NaN or Inf in what resnet18 computes with: deconv1.running_mean1, " in error
    assert "deconv1.running_deconv" in error
    assert "given.pth.tar" in error


@pytest.mark.parametrize("key", ["conv2.running_deconv", "linear.weight", "deconv1.running_var"])
def test_a_tensor_of_a_training_that_diverged_is_named(refused, tmp_path, key):
    state = models.build("digits").state_dict()
    state[key][0, 0] = torch.inf
    error = refused("--checkpoint", saved(tmp_path, state))
    assert f"NaN or Inf in what digits computes with: {key}\n" in error
    assert "before the training diverged" in error
