import hashlib
import json
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

import nd_deploy
from nd_deploy.errors import BundleError
from nd_deploy.nd.layers import ChannelDeconv, Delinear, FastDeconv

WITHOUT_TORCH = """
import json, sys
sys.modules["torch"] = None
import nd_deploy
found = nd_deploy.verify(sys.argv[1], per_layer=True)
print(json.dumps({
    "parity": found.report.as_dict(),
    "layers": [[layer.layer, layer.passed] for layer in found.layers],
}))
"""


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """A bundle with its unfolded model."""
    torch.manual_seed(0)
    network = nn.Sequential(
        FastDeconv(3, 8, 3, padding=1),
        nn.ReLU(),
        FastDeconv(8, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 6, 1),
        ChannelDeconv(3),
        nn.ReLU(),
        ChannelDeconv(3),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        Delinear(6, 5),
    )
    with torch.no_grad():
        for _ in range(5):
            network(torch.randn(16, 3, 6, 6))
    output = tmp_path_factory.mktemp("verified") / "out"
    return nd_deploy.convert(network, torch.randn(4, 3, 6, 6), output, keep_unfolded=True)


@pytest.fixture
def bundle(converted, tmp_path):
    """A copy to damage."""
    return shutil.copytree(converted.path, tmp_path / "bundle")


def agree(bundle, name):
    """Let the manifest agree with a file that was changed or removed."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    if (bundle / name).exists():
        manifest["files"][name] = hashlib.sha256((bundle / name).read_bytes()).hexdigest()
    else:
        del manifest["files"][name]
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def spoil(bundle, node_name, factor):
    """Scale the weight of one node of the deployed model."""
    model = onnx.load(bundle / "model.onnx")
    (node,) = [node for node in model.graph.node if node.name == node_name]
    (weight,) = [t for t in model.graph.initializer if t.name == node.input[1]]
    values = numpy_helper.to_array(weight) * np.float32(factor)
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    onnx.save(model, bundle / "model.onnx")
    agree(bundle, "model.onnx")


def node_of(converted, layer):
    (decision,) = [d for d in converted.decisions if d["layer"] == layer]
    return decision["into"][-1]


def test_a_bundle_is_verified_where_pytorch_cannot_be_imported(converted):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(WITHOUT_TORCH), str(converted.path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["parity"]["passed"]
    assert found["parity"]["samples"] == 4
    assert found["parity"]["top1_agreement"] == 1.0
    # The second ChannelDeconv is folded forward and has no output any more.
    assert found["layers"] == [["0", True], ["2", True], ["5", True], ["10", True]]


def test_the_gates_are_measured_again(converted):
    report = nd_deploy.verify(converted.path).report
    assert [gate.name for gate in report.gates] == ["fold", "storage", "backend"]
    assert report.passed
    assert not any(gate.recorded for gate in report.gates)
    fold, storage, backend = report.gates
    assert fold.error < 1e-14
    assert "folded graph against the unfolded one" in fold.compares
    at_conversion = {gate.name: gate for gate in converted.parity.gates}
    assert storage.budget == at_conversion["storage"].budget
    assert storage.error == pytest.approx(at_conversion["storage"].error, rel=0.5)
    assert backend.error <= backend.budget
    assert nd_deploy.verify(converted.path).layers is None


def test_without_the_unfolded_model_the_fold_gate_is_the_one_of_the_conversion(bundle, converted):
    (bundle / "unfolded.onnx").unlink()
    agree(bundle, "unfolded.onnx")
    fold = nd_deploy.verify(bundle).report.gates[0]
    assert fold.recorded
    assert fold.passed
    assert fold.error == converted.parity.gates[0].error
    assert "PyTorch" in fold.compares


def test_a_fold_that_has_become_wrong_fails_where_the_unfolded_model_is_kept(bundle, monkeypatch):
    from nd_deploy.passes.fold_delinear import FoldDelinear

    place = FoldDelinear.place

    def wrong(self, graph, node):
        decision = place(self, graph, node)
        node.inputs[1].values = node.inputs[1].values * (1 + 1e-7)
        return decision

    monkeypatch.setattr(FoldDelinear, "place", wrong)
    report = nd_deploy.verify(bundle).report
    assert [gate.name for gate in report.gates if not gate.passed] == ["fold"]


@pytest.mark.parametrize("layer", ["0", "2", "5", "10"])
def test_the_first_layer_over_its_budget_is_the_one_that_was_spoiled(bundle, converted, layer):
    spoil(bundle, node_of(converted, layer), 1.01)
    found = nd_deploy.verify(bundle, per_layer=True)
    over = [entry for entry in found.layers if not entry.passed]
    assert over[0].layer == layer
    assert over[0].node == node_of(converted, layer)
    assert 0.003 < over[0].error < 0.03
    assert [gate.name for gate in found.report.gates if not gate.passed] == ["storage", "backend"]


@pytest.mark.parametrize(
    "name", ["model.onnx", "unfolded.onnx", "fold.json", "parity.json", "reference.npz"]
)
def test_a_file_that_has_changed_is_refused(bundle, name):
    with (bundle / name).open("ab") as file:
        file.write(b" ")
    with pytest.raises(BundleError, match=f"{name} has changed since it was written"):
        nd_deploy.verify(bundle)


def test_a_reference_that_holds_no_outputs_is_refused(bundle):
    np.savez(bundle / "reference.npz", x=np.zeros(3))
    agree(bundle, "reference.npz")
    with pytest.raises(BundleError, match=r"reference\.npz holds no inputs"):
        nd_deploy.verify(bundle)


def test_a_folder_that_is_no_bundle_is_refused(tmp_path):
    with pytest.raises(BundleError, match="is no bundle"):
        nd_deploy.verify(tmp_path)
