"""The worked example of docs/adding-a-layer.md, as it stands there."""

import re
from pathlib import Path

import onnx
import pytest
import torch
from torch import Tensor, nn

import nd_deploy
from nd_deploy.errors import UnsupportedLayerError
from nd_deploy.nd import recognise
from nd_deploy.nd.formulas import FORMULAS, base, convolution
from nd_deploy.nd.layers import FastDeconv

GUIDE = Path(__file__).parents[2] / "docs" / "adding-a-layer.md"


@pytest.fixture
def guide():
    """What the guide's code defines, with the one entry that it adds."""
    layer, entry = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    names = {**vars(base), **vars(convolution), "FastDeconv": FastDeconv, "torch": torch}
    names |= {"nn": nn, "Tensor": Tensor}
    exec(layer, names)
    exec(entry.replace("    ...\n", ""), names)
    return names


def network(guide):
    layer = guide["GainedDeconv"](4, 6, 3, padding=1)
    with torch.no_grad():
        layer.gain.fill_(1.3)
        layer.running_mean.normal_()
        layer.running_deconv.add_(0.1)
    return nn.Sequential(layer, nn.ReLU())


def test_the_layer_is_refused_as_the_guide_says(guide):
    with pytest.raises(UnsupportedLayerError, match=r"GainedDeconv\) computes no known ND formula"):
        recognise.recognise(network(guide))


def test_the_entry_is_all_that_it_takes(guide, tmp_path, monkeypatch):
    monkeypatch.setattr(recognise, "FORMULAS", (*FORMULAS, *guide["CONVOLUTIONS"]))
    torch.manual_seed(0)
    gained, x = network(guide), torch.randn(2, 4, 7, 8)
    bundle = nd_deploy.convert(gained, x, tmp_path / "out")
    model = onnx.load(bundle.model_path)
    assert [node.op_type for node in model.graph.node] == ["Mul", "Conv", "Relu"]
    assert [decision["action"] for decision in bundle.decisions] == ["folded"]
