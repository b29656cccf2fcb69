"""Every published form of the layers is known by what it computes, and converts exactly."""

import onnx
import pytest
import torch
from generations import (
    AffineNorm,
    Conv1d,
    Early,
    EarlyPatches,
    PlusPlusConv,
    PlusPlusLinear,
    PlusPlusTransposed,
)
from torch import nn

import nd_deploy
from nd_deploy.bundle import UNFOLDED
from nd_deploy.errors import UnsupportedLayerError
from nd_deploy.nd.recognise import recognise
from nd_deploy.runtime.reference import ReferenceRunner

MEAN_BEFORE_PADDING = ["Sub", "Conv"]
LAYER_NORM = [
    "ReduceMean", "Sub", "Mul", "ReduceSum", "Div", "Sqrt", "Add", "Div", "Conv",
]  # fmt: skip

# Layer, input of one sample, formulas found, ops left.
GENERATIONS = {
    "v0": (
        Early(6, 4, 3, "none", padding=1),
        (6, 7, 9),
        ["FastDeconv of May 2019, without mean"],
        ["Conv"],
    ),
    "v1a": (
        Early(6, 4, 3, "consecutive", padding=1),
        (6, 7, 9),
        ["FastDeconv of May 2019, mean before padding"],
        MEAN_BEFORE_PADDING,
    ),
    "v1a without padding": (
        Early(6, 4, 3, "consecutive"),
        (6, 7, 9),
        ["FastDeconv of May 2019, mean before padding"],
        ["Conv"],
    ),
    "v1a without bias": (
        Early(6, 4, 3, "consecutive", padding=1, bias=False),
        (6, 7, 9),
        ["FastDeconv of May 2019, mean before padding"],
        MEAN_BEFORE_PADDING,
    ),
    "v1b": (
        Early(6, 4, 3, "alternating", stride=2, padding=1),
        (6, 8, 10),
        ["FastDeconv of July 2019, mean before padding"],
        MEAN_BEFORE_PADDING,
    ),
    "v1b of 1x1": (
        Early(6, 4, 1, "alternating"),
        (6, 7, 9),
        ["FastDeconv of July 2019, mean before padding"],
        ["Conv"],
    ),
    "DeConv2d mode 1": (
        EarlyPatches(6, 4, 3, 1, padding=1),
        (6, 7, 9),
        ["DeConv2d, channels first", "ChannelDeconv"],
        MEAN_BEFORE_PADDING,
    ),
    "DeConv2d mode 2": (EarlyPatches(6, 4, 3, 2, padding=1), (6, 7, 9), ["FastDeconv"], ["Conv"]),
    "DeConv2d mode 2, strided": (
        EarlyPatches(6, 4, 3, 2, stride=2, padding=1),
        (6, 8, 10),
        ["FastDeconv"],
        ["Conv"],
    ),
    "DeConv2d mode 3": (
        EarlyPatches(6, 4, 3, 3, padding=1),
        (6, 7, 9),
        ["ChannelDeconv"],
        MEAN_BEFORE_PADDING,
    ),
    "DeConv2d mode 4": (
        EarlyPatches(6, 4, 3, 4, padding=1, bias=False),
        (6, 7, 9),
        ["FastDeconv"],
        ["Conv"],
    ),
    "ND++ without norm": (
        PlusPlusConv(6, 4, 3, padding=1, norm="none"),
        (6, 7, 9),
        ["FastDeconv"],
        ["Conv"],
    ),
    "ND++ with layer norm": (
        PlusPlusConv(8, 4, 3, padding=1, block=2, norm="layernorm"),
        (8, 7, 9),
        ["layer norm and FastDeconv"],
        LAYER_NORM,
    ),
    "ND++ with L1 norm, grouped": (
        PlusPlusConv(8, 4, 3, padding=1, groups=4, norm="l1norm"),
        (8, 7, 9),
        ["L1 norm and FastDeconv"],
        ["Abs", "ReduceMean", "Add", "Div", "Conv"],
    ),
    "ND++ linear with layer norm": (
        PlusPlusLinear(12, 5, block=4, norm="layernorm"),
        (12,),
        ["layer norm and Delinear"],
        [*LAYER_NORM[:-1], "Gemm"],
    ),
    "ND++ linear with L1 norm": (
        PlusPlusLinear(12, 5, block=4, norm="l1norm"),
        (12,),
        ["L1 norm and Delinear"],
        ["Abs", "ReduceMean", "Add", "Div", "Gemm"],
    ),
    "ND++ transposed": (
        PlusPlusTransposed(6, 3, stride=2, padding=1, output_padding=1),
        (6, 5, 4),
        ["DeconvTransposed"],
        ["ConvTranspose"],
    ),
    "1-D": (
        Conv1d(6, 4, 5, stride=2, padding=2, dilation=2),
        (6, 31),
        ["FastDeconv"],
        ["Conv"],
    ),
    "1-D without mean": (
        Conv1d(6, 4, 3, mean=False),
        (6, 31),
        ["FastDeconv without mean"],
        ["Conv"],
    ),
    "affine": (AffineNorm(6, 3), (6, 5, 4), ["ChannelDeconv and affine map"], ["Conv"]),
    "affine with leftovers": (
        AffineNorm(7, 3),
        (7, 5, 4),
        ["ChannelDeconv and affine map"],
        ["Conv"],
    ),
    "affine without statistics of leftovers": (
        AffineNorm(6, 3, leftovers=False),
        (6, 5, 4),
        ["ChannelDeconv and affine map"],
        ["Conv"],
    ),
    "affine of features": (AffineNorm(6, 3), (6,), ["ChannelDeconv and affine map"], ["Gemm"]),
    "affine behind a convolution": (
        nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), AffineNorm(6, 3), nn.ReLU()),
        (3, 5, 4),
        ["ChannelDeconv and affine map"],
        ["Conv", "Relu"],
    ),
    "affine in front of a linear layer": (
        nn.Sequential(nn.ReLU(), AffineNorm(6, 3), nn.Linear(6, 2)),
        (6,),
        ["ChannelDeconv and affine map"],
        ["Relu", "Gemm"],
    ),
}
each = pytest.mark.parametrize(
    ("layer", "shape", "formulas", "ops"), GENERATIONS.values(), ids=GENERATIONS
)


@each
def test_a_generation_is_known_by_what_it_computes(layer, shape, formulas, ops):
    found = recognise(nn.Sequential(layer)).layers
    assert [known.formula.name for known in found] == formulas
    assert all(known.probe_error <= 1e-10 for known in found)


@each
def test_a_generation_converts_exactly_and_leaves_no_more_than_it_must(
    tmp_path, layer, shape, formulas, ops
):
    x = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    bundle = nd_deploy.convert(layer, x, tmp_path / "out", keep_unfolded=True)
    with torch.no_grad():
        truth = layer.double()(x.double()).numpy()
        layer.float()
    folded, unfolded = onnx.load(bundle.model_path), onnx.load(bundle.path / UNFOLDED)
    assert [node.op_type for node in folded.graph.node] == ops
    onnx.checker.check_model(unfolded, full_check=True)
    for model in (folded, unfolded):
        (y,) = ReferenceRunner(model).run({"input": x.numpy()}).values()
        assert abs(y - truth).max() <= 1e-6 * abs(truth).max()


def test_a_mean_in_front_of_padding_is_reported_with_the_convolution_that_pads(tmp_path):
    layer = Early(6, 4, 3, "alternating", padding=1)
    bundle = nd_deploy.convert(nn.Sequential(layer), torch.randn(1, 6, 7, 9), tmp_path / "out")
    (centre,) = (d for d in bundle.decisions if d["op_type"] == "NDCentre")
    assert (centre["layer"], centre["action"]) == ("0.centre", "subtracted")
    assert "Conv 0 pads with zeros" in centre["reason"]


def test_the_statistics_of_one_sample_are_no_published_form():
    class Instance(PlusPlusConv):
        def forward(self, x):
            return super().forward(x) * x.var()

    with pytest.raises(UnsupportedLayerError, match=r"not layer norm and FastDeconv: output diff"):
        recognise(Instance(6, 4, 3, norm="layernorm"))


def test_a_transposed_layer_with_groups_is_refused_with_that_reason():
    layer = PlusPlusTransposed(6, 3)
    layer.groups = 2
    with pytest.raises(UnsupportedLayerError, match="a transposed convolution with 2 groups"):
        recognise(layer)
