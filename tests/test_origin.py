"""The network behind a bundle, built again, is the one that was converted, or is refused."""

import copy
import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from small_networks import error, in_float64, trained
from torch import nn

import nd_deploy
from nd_deploy.errors import BundleError, InputError, MissingDependencyError
from nd_deploy.nd.layers import Delinear
from nd_deploy.origin import GivenNetwork, Origin, origin_of, record

USERS = """
import os
import torch
from torch import nn
from nd_deploy.nd.layers import Delinear

def build(width: int = 3, shape=(2,)):
    torch.manual_seed(width)
    network = nn.Sequential(Delinear(4, width), nn.ReLU(), nn.Linear(width, shape[0]))
    network.train()(torch.randn(16, 4))
    return network

network = build()
"""
X = torch.randn(3, 4, generator=torch.Generator().manual_seed(2))


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """A folder with a module of the user's, a checkpoint, and a bundle of both."""
    folder = tmp_path_factory.mktemp("converted")
    (folder / "users_net.py").write_text(USERS)
    names = {}
    exec(USERS, names)
    module = names["build"](width=5)
    torch.save(module.state_dict(), folder / "net.pth")
    digest = nd_deploy.read_checkpoint(folder / "net.pth").sha256
    nd_deploy.convert(
        module,
        X,
        folder / "out",
        checkpoint={"name": "net.pth", "sha256": digest},
        origin=record("users_net:build", {"width": 5, "shape": (2,)}, "net.pth"),
    )
    return folder, module


@pytest.fixture
def module(converted, tmp_path, monkeypatch):
    """The network that was converted, the current folder being a copy of its own."""
    shutil.copytree(converted[0], tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    yield converted[1]
    for name in ("users_net", "users_train"):
        sys.modules.pop(name, None)


def change(**origin):
    """Change what the bundle says of its origin; nothing at all if nothing is given."""
    path = Path("out/manifest.json")
    manifest = json.loads(path.read_text())
    manifest["origin"] = {**manifest["origin"], **origin} if origin else None
    if "checkpoint" in origin and origin["checkpoint"] is None:
        manifest["checkpoint"] = None
    path.write_text(json.dumps(manifest))


def origin(**options):
    return origin_of(nd_deploy.read_bundle("out"), **options)


def test_the_network_is_built_again_with_its_weights(module):
    network = origin().load()
    assert not network.training
    with torch.no_grad():
        assert torch.equal(network(X), module.eval()(X))


def test_an_origin_is_the_same_after_json(module):
    before = origin()
    assert before.settings == {"width": 5, "shape": (2,)}
    assert Origin.from_dict(json.loads(json.dumps(before.as_dict()))) == before


def test_a_checkpoint_that_was_moved_is_found_where_it_is_said_to_be(module):
    Path("net.pth").rename("moved.pth")
    with pytest.raises(InputError, match=r"net\.pth, the checkpoint of out, is not there\n.*--che"):
        origin().load()
    with torch.no_grad():
        assert torch.equal(origin(checkpoint=Path("moved.pth")).load()(X), module.eval()(X))


def test_another_checkpoint_is_refused(module):
    torch.save({**module.state_dict(), "2.bias": torch.ones(2)}, "net.pth")
    with pytest.raises(InputError, match=r"net\.pth is not the checkpoint that out was converted"):
        origin().load()


def test_a_bundle_that_was_made_from_python_or_long_ago_is_refused(module):
    change()
    with pytest.raises(InputError, match=r"out does not tell(.|\n)*--against MODEL\.onnx"):
        origin()
    path = Path("out/manifest.json")
    fields = json.loads(path.read_text())
    del fields["origin"]
    path.write_text(json.dumps(fields))
    assert nd_deploy.read_bundle("out").manifest.origin is None


def test_code_that_has_changed_is_refused(module):
    path = Path("users_net.py")
    path.write_text(path.read_text().replace("nn.ReLU", "nn.GELU"))
    with pytest.raises(InputError, match=r"users_net:build gives now is not the one in out"):
        origin().load()


def test_weights_that_come_with_the_source_are_compared_with_those_converted(module):
    change(source="users_net:network", settings={}, checkpoint=None)
    with pytest.raises(InputError, match=r"is not the one in out.*\n.*from a checkpoint"):
        origin().load()
    change(source="users_net:build", settings={"width": "5"})
    with torch.no_grad():
        assert torch.equal(origin().load()(X), module.eval()(X))
    with pytest.raises(InputError, match=r"--checkpoint net\.pth: out was converted without"):
        origin(checkpoint=Path("net.pth"))


def test_in_another_folder_the_code_is_not_there(module, monkeypatch, tmp_path):
    bundle = nd_deploy.read_bundle(Path("out").absolute())
    checkpoint = Path("net.pth").absolute()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"no package 'users_net' in the current folder\nrun in"):
        origin_of(bundle, checkpoint).load()


@pytest.mark.parametrize("source", ["os:system", "users_net:os.system", "__main__:print"])
def test_a_bundle_has_no_code_called_that_is_not_the_users(module, source):
    change(source=source, settings={"command": "'touch called'"}, checkpoint=None)
    with pytest.raises(InputError, match=r"on the word of a bundle|no package"):
        origin().load()
    assert not Path("called").exists()


def test_what_another_module_of_the_users_defines_is_called(module):
    Path("users_train.py").write_text("from users_net import build\n")
    change(source="users_train:build")
    with torch.no_grad():
        assert torch.equal(origin().load()(X), module.eval()(X))


def test_a_package_elsewhere_on_the_path_is_not_the_users(module, monkeypatch, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    Path("users_net.py").rename(tmp_path / "elsewhere" / "users_net.py")
    monkeypatch.syspath_prepend(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="is not one of the current folder"):
        origin().load()


def test_without_torch_the_message_says_how_to_install_it(module, monkeypatch):
    found = origin()
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'nd-deploy\[export\]'"):
        found.load()


@pytest.mark.parametrize(
    "wrong",
    [
        {"source": 3},
        {"source": None, "checkpoint": None},
        {"settings": [1]},
        {"settings": {"width": 5}},
        {"settings": {"width": "__import__('os')"}},
        {"checkpoint": ["net.pth"]},
    ],
)
def test_a_malformed_origin_is_refused(module, wrong):
    change(**wrong)
    with pytest.raises(BundleError, match=r"the origin in out/manifest\.json is malformed"):
        origin()


def test_a_setting_that_has_no_text_is_refused():
    with pytest.raises(InputError, match="the setting act cannot be written down: it is a ReLU"):
        record("net:build", {"act": nn.ReLU()}, None)


def test_statistics_of_the_batch_are_those_of_training(module):
    x = torch.randn(32, 4, generator=torch.Generator().manual_seed(5))
    source = record("users_net:build", {"width": 5}, "net.pth")
    bundle = nd_deploy.convert(module, x, "by_batch", statistics="batch", origin=source)
    expected = copy.deepcopy(module).double().train()(x.double()).detach()
    before = copy.deepcopy(module.state_dict())
    for network in (origin_of(bundle).load(), GivenNetwork(module, "batch").load()):
        assert not network.training
        assert error(network.double()(x.double()).detach(), expected) < 1e-12
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def test_a_given_network_is_copied_out_of_data_parallel():
    network = trained(nn.Sequential(Delinear(4, 2)), (4,))
    given = GivenNetwork(nn.DataParallel(network.train())).load()
    assert isinstance(given, nn.Sequential)
    assert network.training
    assert not given.training
    assert error(given(X).detach(), in_float64(network, X)) < 1e-6
