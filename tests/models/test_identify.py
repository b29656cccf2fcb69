"""Telling which network a state dict was saved from."""

import dataclasses
import importlib
import json
from pathlib import Path

import pytest
import torch

from nd_deploy import models
from nd_deploy.errors import CheckpointError, InputError
from nd_deploy.models.info import CHOICES

REGISTRY = importlib.import_module("nd_deploy.models.registry")
OFFICIAL = {
    f"{file.stem}/{name}": layout
    for file in sorted((Path(__file__).parent / "data").glob("official_layouts*.json"))
    for name, layout in json.loads(file.read_text()).items()
}
MAIN = (
    "{dataset},{arch},ep.1,SGD,0.1,cosine,bs.32,wd.0.001,bn.True,deconv.True,delinear.True,"
    "b.{block},stride.2,it.{it},eps.0.001,bias.True,bfc.512"
)


def state_dict(name, **options):
    with torch.device("meta"):
        return models.build(name, **options).state_dict()


def folder(arch, dataset="cifar10", block=64, it=7):
    name = MAIN.format(arch=arch, dataset=dataset, block=block, it=it)
    return f"checkpoints/{name}/11-21-06.04/checkpoint.pth.tar"


@pytest.fixture
def doubled(monkeypatch):
    """Let there be a network with the keys and shapes of another."""
    double = dataclasses.replace(models.describe("vgg11"), name="vgg11_too", aliases=("twin",))
    monkeypatch.setattr(REGISTRY, "NETWORKS", (*REGISTRY.NETWORKS, double))
    for name in ("vgg11_too", "twin"):
        monkeypatch.setitem(REGISTRY._BY_NAME, name, double)


@pytest.mark.parametrize("layout", OFFICIAL.values(), ids=OFFICIAL)
def test_an_official_state_dict_tells_its_network_and_its_options(layout):
    saved = {key: torch.empty(shape, device="meta") for key, shape in layout["shapes"].items()}
    found = models.identify(saved)
    assert found.name == models.describe(layout["arch"]).name
    assert found.options == layout["options"]
    assert found.from_folder == {}
    assert found.notes == ()


@pytest.mark.parametrize("name", models.names())
@pytest.mark.parametrize("place", [0, -1])
def test_no_two_networks_are_mistaken_for_one_another(name, place):
    words = [word for word in CHOICES if word in models.describe(name).options]
    saved = state_dict(name, **{word: CHOICES[word][place] for word in words})
    found = models.identify(saved)
    assert found.name == name
    # Not all of the options leave a trace in every network.
    rebuilt = state_dict(name, **found.options)
    assert {k: v.shape for k, v in rebuilt.items()} == {k: v.shape for k, v in saved.items()}


def test_a_checkpoint_that_two_networks_fit_is_not_guessed(doubled):
    with pytest.raises(CheckpointError, match="fits vgg11 and vgg11_too") as caught:
        models.identify(state_dict("vgg11"))
    assert "name the network" in caught.value.remedy
    assert models.identify(state_dict("vgg11"), name="twin").name == "vgg11_too"


def test_hints_decide_between_two_networks_and_the_file_s_own_word_goes_first(doubled):
    saved = state_dict("vgg11", head="delinear")
    assert models.identify(saved, arch="twin").name == "vgg11_too"
    assert models.identify(saved, path=folder("twin")).name == "vgg11_too"
    found = models.identify(saved, arch="vgg11", path=folder("twin"))
    assert found.name == "vgg11"
    assert found.notes == ("the folder's name says twin, but the tensors are those of vgg11",)


@pytest.mark.parametrize("arch", ["resnet", "lenet"])
def test_a_hint_that_the_tensors_contradict_is_noted_and_not_believed(arch):
    found = models.identify(state_dict("vgg11"), arch=arch)
    assert found.name == "vgg11"
    assert found.notes == (
        f"the checkpoint's arch says {arch}, but the tensors are those of vgg11",
    )


def test_the_names_that_main_imagenet_has_for_torchvision_s_networks_are_no_contradiction():
    found = models.identify(
        state_dict("resnet18_imagenet", norm="bn", head="linear"), arch="resnet18"
    )
    assert (found.name, found.notes) == ("resnet18_imagenet", ())


def test_a_folder_tells_what_leaves_no_trace_in_tensors():
    found = models.identify(
        state_dict("resnet18", head="delinear", block_fc=512), path=folder("resnet")
    )
    assert found.from_folder == {"eps": 1e-3, "n_iter": 7, "sampling_stride": 2}
    assert found.options == {
        "num_classes": 10, "norm": "nd", "head": "delinear", "block": 64, "block_fc": 512,
        **found.from_folder,
    }  # fmt: skip
    assert found.notes == ()


def test_what_a_folder_says_against_the_tensors_is_noted_and_not_believed():
    saved = state_dict("resnet18", norm="bn", head="delinear", num_classes=100)
    found = models.identify(saved, path=folder("resnet", block=48))
    assert (found.options["norm"], found.options["num_classes"]) == ("bn", 100)
    assert found.notes == (
        "the folder's name says norm=nd, but the tensors say bn",
        "the folder's name says num_classes=10, but the tensors say 100",
    )
    found = models.identify(
        state_dict("resnet18", head="delinear"), path=folder("resnet", block=48)
    )
    assert found.options["block"] == 64
    assert found.notes == ("the folder's name says block=48, but the tensors say 64",)


def test_a_folder_decides_between_blocks_that_make_the_same_network():
    saved = state_dict("vgg11", head="delinear", block=1000)
    assert models.identify(saved).options["block"] < 1000
    assert models.identify(saved, path=folder("vgg11", block=1000)).options["block"] == 1000


def test_the_mlp_is_not_told_by_options_that_its_script_never_passed_on():
    found = models.identify(state_dict("mlp"), path=folder("mlp", "mnist"))
    assert found.options == {"num_classes": 10, "norm": "nd", "block_fc": 32}
    assert (found.from_folder, found.notes) == ({}, ())


@pytest.mark.parametrize(
    ("arch", "dataset", "shape"),
    [
        ("resnet18d", "cifar10", (3, 32, 32)),
        ("resnet18d", "imagenet", (3, 224, 224)),
        ("resnet18d", "mnist", (3, 224, 224)),
        ("resnet18d", "birds", (3, 224, 224)),
        ("fcn_resnet50d", "cityscapes", (3, 480, 480)),
        ("mlp", "fashion", (1, 28, 28)),
    ],
)
def test_the_data_set_in_a_folder_s_name_tells_the_size_of_the_input(arch, dataset, shape):
    saved = state_dict(arch)
    assert models.identify(saved, path=folder(arch, dataset)).input_shape == shape
    assert models.identify(saved).input_shape == models.describe(arch).input_shape


def test_a_state_dict_like_no_network_is_answered_with_the_nearest():
    saved = state_dict("resnet18")
    saved["fc2.weight"] = torch.empty(5, 10, device="meta")
    with pytest.raises(CheckpointError, match="fits no network") as caught:
        models.identify(saved)
    assert "\n  resnet18: nothing missing, fc2.weight unexpected" in caught.value.problem
    assert "nd-deploy models" in caught.value.remedy


def test_the_first_shape_that_differs_is_named():
    saved = state_dict("resnet18")
    saved["layer1.0.conv1.weight"] = torch.empty(64, 64, 5, 5, device="meta")
    with pytest.raises(
        CheckpointError, match=r"resnet18: layer1\.0\.conv1\.weight has the shape \(64, 64, 5, 5\)"
    ):
        models.identify(saved)


@pytest.mark.parametrize("saved", [{}, {"transformer.wte.weight": torch.empty(7, 5)}])
def test_what_has_nothing_in_common_with_any_network_is_compared_with_none(saved):
    with pytest.raises(CheckpointError) as caught:
        models.identify(saved)
    assert caught.value.problem == "the state dict fits no network of nd_deploy.models"


def test_another_network_than_the_one_named_is_found():
    with pytest.raises(CheckpointError, match=r"not one of resnet18: .* missing") as caught:
        models.identify(state_dict("vgg11"), name="resnet18")
    assert "it is one of vgg11" in caught.value.remedy
    with pytest.raises(CheckpointError, match="not one of resnet18") as caught:
        models.identify({"a.weight": torch.empty(2, 2)}, name="resnet")
    assert "name the network that was trained" in caught.value.remedy


def test_a_network_that_is_named_need_not_be_searched_for(doubled):
    found = models.identify(state_dict("vgg11", block=32), name="vgg11", path=folder("vgg11"))
    assert (found.name, found.options["block"], found.options["eps"]) == ("vgg11", 32, 1e-3)
    with pytest.raises(InputError, match="no network called"):
        models.identify({}, name="lenet")


def test_a_classifier_of_no_class_is_refused():
    saved = {**state_dict("mlp"), "linear.2.weight": torch.empty(0, 128)}
    with pytest.raises(CheckpointError, match=r"linear\.2\.weight has the shape \(0, 128\)"):
        models.identify(saved)
