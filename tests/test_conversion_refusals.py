import threading

import numpy as np
import pytest
import torch
from small_networks import Network, tiny_network, trained
from torch import nn

import nd_deploy
from nd_deploy import conversion
from nd_deploy.errors import BundleError, InputError, ParityError
from nd_deploy.nd.layers import ChannelDeconv, Delinear, FastDeconv
from nd_deploy.passes.fold_fast_deconv import FoldFastDeconv
from nd_deploy.runtime.onnxruntime import OnnxRuntimeRunner

STEPS = ["recognising", "running PyTorch", "exporting", "folding", "proving", "writing"]


@pytest.fixture(scope="module")
def tiny():
    return tiny_network()


@pytest.fixture
def x():
    return torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def untouched(tiny, tmp_path):
    """Nothing is written, and the network is as it was."""
    state = {name: tensor.clone() for name, tensor in tiny.state_dict().items()}
    yield
    assert list(tmp_path.iterdir()) == []
    assert tiny.training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in tiny.modules())
    for name, tensor in tiny.state_dict().items():
        assert tensor.dtype == state[name].dtype
        assert torch.equal(tensor, state[name])


@pytest.fixture
def no_work(monkeypatch):
    def fail(*_):
        raise AssertionError("something was computed")

    for step in ("recognise", "record_reference", "trace"):
        monkeypatch.setattr(conversion, step, fail)


@pytest.mark.usefixtures("untouched")
def test_a_wrong_fold_fails_the_fold_gate(tiny, x, tmp_path, monkeypatch):
    place = FoldFastDeconv.place

    def spoil(self, graph, node):
        decision = place(self, graph, node)
        node.inputs[1].values = node.inputs[1].values * (1 + 1e-7)
        return decision

    monkeypatch.setattr(FoldFastDeconv, "place", spoil)
    with pytest.raises(ParityError, match="the fold gate failed") as caught:
        nd_deploy.convert(tiny, x, tmp_path / "a" / "out")
    assert caught.value.exit_code == 2
    assert "budget 1.00e-10" in caught.value.problem
    assert "fault of nd-deploy" in caught.value.remedy


@pytest.mark.usefixtures("untouched")
def test_a_runtime_that_computes_something_else_fails_the_backend_gate(
    tiny, x, tmp_path, monkeypatch
):
    class Imprecise(OnnxRuntimeRunner):
        def run(self, feeds):
            # As if products were computed with the 10 bits of TF32.
            return {name: y * np.float32(1 + 2**-11) for name, y in super().run(feeds).items()}

    monkeypatch.setattr("nd_deploy.runtime.open_ort.OnnxRuntimeRunner", Imprecise)
    with pytest.raises(ParityError, match="the backend gate failed") as caught:
        nd_deploy.convert(tiny, x, tmp_path / "out")
    assert caught.value.exit_code == 2
    assert "nd-deploy doctor" in caught.value.remedy


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid:RuntimeWarning")
def test_a_folded_weight_beyond_float32_fails_the_storage_gate(tmp_path):
    network = nn.Sequential(ChannelDeconv(4), nn.Conv2d(4, 3, 1)).eval()
    with torch.no_grad():
        # Each is far inside float32, as is every activation; their product is not.
        network[0].running_deconv.copy_(torch.eye(4) * 1e25 + 1e24)
        network[1].weight.mul_(1e20)
    x = torch.randn(2, 4, 3, 3) * 1e-12
    with pytest.raises(ParityError, match="the storage gate failed: error inf") as caught:
        nd_deploy.convert(network, x, tmp_path / "out")
    assert caught.value.exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_leaves_float32s_range_itself_is_refused(x, tmp_path):
    network = nn.Sequential(FastDeconv(3, 4, 1)).eval()
    with torch.no_grad():
        network[0].weight.fill_(1e30)
        network[0].running_deconv.mul_(1e12)
    with pytest.raises(InputError, match="float32 output holds NaN or Inf"):
        nd_deploy.convert(network, x, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_is_nan_in_float64_too_is_refused(x, tmp_path):
    network = Network(lambda x, layer: (layer(x) - 100).sqrt(), FastDeconv(3, 4, 1))
    with pytest.raises(InputError, match="holds NaN or Inf, in float64 too") as caught:
        nd_deploy.convert(trained(network, (3, 4, 4)), x, tmp_path / "out")
    assert caught.value.exit_code == 1
    assert list(tmp_path.iterdir()) == []


def test_a_whitening_matrix_with_nan_that_is_read_is_refused_by_the_name_of_its_layer(x, tmp_path):
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), ChannelDeconv(4)).eval()
    network[2].running_deconv.fill_(float("nan"))
    with pytest.raises(InputError, match="layer 2 is the first ND layer whose output does"):
        nd_deploy.convert(network, x, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_outputs_that_cannot_have_settled_are_warned_about(x, tmp_path):
    network = nn.Sequential(FastDeconv(3, 4, 1)).eval()
    network[0].running_deconv.mul_(1e9)
    bundle = nd_deploy.convert(network, x, tmp_path / "out")
    assert any("have not settled" in warning for warning in bundle.warnings)


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    ("example", "complaint"),
    [
        (torch.zeros(2, 5, 4, 4), r"rejects an input of shape \(2, 5, 4, 4\)"),
        (torch.zeros(2, 12), r"FastDeconv takes a 4-D input .* not one of shape \(2, 12\)"),
        (torch.zeros(2, 3, 4, 4).double(), r"\(torch.float64\)"),
        ([torch.zeros(2, 3, 4, 4)] * 2, r"\(2, 3, 4, 4\), \(2, 3, 4, 4\)"),
        (torch.zeros(0, 3, 4, 4), r"of shape \(0, 3, 4, 4\) is empty"),
        ([np.zeros((2, 3, 4, 4), np.float32)], "is a ndarray, not a tensor"),
        ([], "there is no example input"),
    ],
)
def test_an_example_that_the_network_does_not_take_is_named(tiny, tmp_path, example, complaint):
    with pytest.raises(InputError, match=complaint) as caught:
        nd_deploy.convert(tiny, example, tmp_path / "out")
    assert caught.value.exit_code == 1
    assert caught.value.remedy


@pytest.mark.parametrize("returned", [None, [], 3.0, "text", {"logits": None}])
def test_a_network_that_returns_no_tensor_is_refused(returned, x, tmp_path):
    with pytest.raises(InputError, match="the network returns"):
        nd_deploy.convert(Network(lambda x: returned), x, tmp_path / "out")


def test_a_network_that_cannot_be_copied_is_refused(tiny, x, tmp_path):
    network = nn.Sequential(tiny)
    network.lock = threading.Lock()
    with pytest.raises(InputError, match="cannot be copied: TypeError"):
        nd_deploy.convert(network, x, tmp_path / "out")


def test_labels_that_are_not_as_many_as_the_classes_are_refused(tmp_path):
    network = trained(nn.Sequential(Delinear(6, 4)), (6,))
    with pytest.raises(InputError, match="2 labels for the network's 4 classes"):
        nd_deploy.convert(network, torch.randn(3, 6), tmp_path / "out", labels=["a", "b"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("step", STEPS)
def test_an_interrupt_at_any_step_leaves_nothing_behind(step, tiny, x, tmp_path):
    def interrupt(line):
        if line.startswith(step):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        nd_deploy.convert(tiny, x, tmp_path / "a" / "out", keep_unfolded=True, report=interrupt)


@pytest.mark.usefixtures("no_work")
def test_an_existing_output_is_refused_before_any_work(tiny, x, tmp_path):
    folder, file = tmp_path / "folder", tmp_path / "file"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    file.write_text("mine")
    for output in (folder, file):
        with pytest.raises(BundleError, match="exists already") as caught:
            nd_deploy.convert(tiny, x, output)
        assert "--overwrite" in caught.value.remedy
        with pytest.raises(BundleError):
            nd_deploy.convert(tiny, x, output, overwrite=True)
    assert (folder / "notes.txt").read_text() == file.read_text() == "mine"


def test_labels_that_are_not_one_a_class_are_refused_before_the_export(x, tmp_path):
    network = nn.Sequential(
        FastDeconv(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)
    )
    steps = []
    with pytest.raises(InputError, match="2 labels for the network's 5 classes"):
        nd_deploy.convert(network, x, tmp_path / "out", labels=("a", "b"), report=steps.append)
    assert not any("exporting" in step for step in steps)
    assert list(tmp_path.iterdir()) == []
