"""Models that take any image size or batch, and networks whose model cannot."""

from collections import OrderedDict

import onnx
import onnxruntime
import pytest
import torch
from small_networks import Network, error, in_float64, trained
from torch import nn
from torch.nn import functional

import nd_deploy
from nd_deploy.errors import ExportError
from nd_deploy.nd.layers import ChannelDeconv, FastDeconv


class Segmentation(nn.Module):
    """A stem, dilated convolutions, pyramid pooling with an image-wide branch, and two heads."""

    def __init__(self, mode, align):
        super().__init__()
        torch.manual_seed(0)
        self.stem = FastDeconv(3, 8, 7, stride=2, padding=3)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.body = FastDeconv(8, 8, 3, padding=2, dilation=2)
        self.branches = nn.ModuleList(
            [FastDeconv(8, 8, 1), FastDeconv(8, 8, 3, padding=12, dilation=12)]
        )
        self.wide = nn.Sequential(nn.AdaptiveAvgPool2d(1), FastDeconv(8, 8, 1), nn.ReLU())
        self.project, self.head = FastDeconv(24, 8, 1), FastDeconv(8, 5, 1)
        self.auxiliary = FastDeconv(8, 2, 3, padding=1)
        self.options = {"mode": mode} | ({} if mode == "nearest" else {"align_corners": align})

    def resized(self, x, like):
        return functional.interpolate(x, size=like.shape[-2:], **self.options)

    def forward(self, x):
        features = self.pool(self.stem(x).relu_())
        deep = self.body(features).relu_()
        parts = [branch(deep).relu() for branch in self.branches]
        parts.append(self.resized(self.wide(deep), deep))
        y = self.head(self.project(torch.cat(parts, 1)).relu_())
        return OrderedDict(out=self.resized(y, x), aux=self.resized(self.auxiliary(features), x))


def at_sizes(bundle, network, *shapes):
    """The model held against PyTorch in float64 on inputs of these shapes."""
    session = onnxruntime.InferenceSession(str(bundle.model_path))
    ports = session.get_inputs()
    generator = torch.Generator().manual_seed(4)
    for shape in shapes:
        inputs = [torch.randn(s, generator=generator) for s in shape]
        feeds = {port.name: x.numpy() for port, x in zip(ports, inputs, strict=True)}
        truth = in_float64(network, *inputs)
        expected = list(truth.values()) if isinstance(truth, dict) else [truth]
        for actual, y in zip(session.run(None, feeds), expected, strict=True):
            assert error(actual, y) < 1e-5


def images(*sizes):
    return [[(2 + index % 2, 3, *size)] for index, size in enumerate(sizes)]


SIZES = images((33, 41), (64, 64), (31, 50), (8, 9), (65, 97))


@pytest.mark.parametrize(
    ("mode", "align"), [("bilinear", False), ("bilinear", True), ("nearest", None)]
)
def test_a_segmentation_network_takes_any_image_size(mode, align, tmp_path):
    network = trained(Segmentation(mode, align), (3, 33, 41), steps=3)
    bundle = nd_deploy.convert(
        network, torch.randn(2, 3, 33, 41), tmp_path / "out", dynamic_spatial=True
    )
    at_sizes(bundle, network, *SIZES)
    resizes = [n for n in onnx.load(bundle.model_path).graph.node if n.op_type == "Resize"]
    assert len(resizes) == 3
    assert {decision["action"] for decision in bundle.decisions} == {"folded"}
    assert [(port.name, port.shape) for port in bundle.manifest.outputs] == [
        ("out", ("batch", 5, "height", "width")),
        ("aux", ("batch", 2, "height", "width")),
    ]
    assert bundle.warnings == []
    assert nd_deploy.verify(bundle.path).report.passed


def pooled_to_one(x, deconv, layer):
    return layer(functional.adaptive_avg_pool2d(deconv(x.relu()), 1).flatten(1))


def averaged(x, deconv, layer):
    return layer(deconv(x.relu()).mean((2, 3)))


def resized(x, deconv, layer):
    y = deconv(functional.max_pool2d(x, 2))
    return layer(functional.interpolate(y, size=x.shape[2:], mode="bilinear"))


@pytest.mark.parametrize(
    ("function", "layer", "place"),
    [
        (pooled_to_one, nn.Linear(3, 5), "forward"),
        (averaged, nn.Linear(3, 5), "forward"),
        (resized, nn.Conv2d(3, 5, 1), "forward"),
        (lambda x, d, f: f(torch.cat([x, d(x.relu())], 1)), nn.Conv2d(6, 5, 1), "forward"),
        (lambda x, d, f: f(d(x.relu())), nn.Conv2d(3, 5, 3, padding=1), "centred"),
        (lambda x, d, f: d(f(x)).relu(), nn.Conv2d(3, 3, 3, padding=1), "backward"),
        (lambda x, d, f: f(d(x.relu()).relu()), nn.Conv2d(3, 3, 3), "lowered"),
    ],
    ids=["pooled", "averaged", "resized", "joined", "in front of padding", "behind", "alone"],
)
def test_a_channel_deconv_folds_whatever_the_image_size(function, layer, place, tmp_path):
    torch.manual_seed(1)
    network = trained(Network(function, ChannelDeconv(2), layer), (3, 8, 9))
    bundle = nd_deploy.convert(
        network, torch.randn(2, 3, 8, 9), tmp_path / "out", dynamic_spatial=True
    )
    assert [decision["action"] for decision in bundle.decisions] == [place]
    at_sizes(bundle, network, *images((8, 9), (13, 6)))


SMALL = torch.randn(3, 3, 8, 12, generator=torch.Generator().manual_seed(2))


def one_layer(function):
    torch.manual_seed(2)
    return trained(Network(function, FastDeconv(3, 4, 3, padding=1)), (3, 8, 12))


@pytest.mark.parametrize(
    "function",
    [
        lambda x, f: functional.adaptive_avg_pool2d(f(x), 2),
        lambda x, f: functional.adaptive_avg_pool2d(f(x), (3, 5)),
        lambda x, f: functional.adaptive_max_pool2d(f(x), 4),
        lambda x, f: f(x) if x.shape[2] % 2 == 0 else f(x) * 2,
        lambda x, f: f(x) if x.shape[3] > 10 else f(x) * 2,
    ],
    ids=["divided pooling", "other pooling", "max pooling", "even height", "large width"],
)
def test_a_trace_that_holds_at_the_examples_size_alone_is_refused(function, tmp_path):
    network = one_layer(function)
    with pytest.raises(ExportError, match="is not the network at images of 5x8") as caught:
        nd_deploy.convert(network, SMALL, tmp_path / "out", dynamic_spatial=True)
    assert "--dynamic-spatial" in caught.value.remedy
    assert list(tmp_path.iterdir()) == []
    bundle = nd_deploy.convert(network, SMALL, tmp_path / "out")
    at_sizes(bundle, network, [(3, 3, 8, 12)])


@pytest.mark.parametrize("axis", [2, 3])
def test_a_branch_on_a_largest_size_is_refused_with_the_axis(axis, tmp_path):
    network = one_layer(lambda x, f: f(x) if x.shape[axis] < 500 else f(x) * 2)
    with pytest.raises(ExportError, match=r"decides by the (height|width): .* up to 499 only"):
        nd_deploy.convert(network, SMALL, tmp_path / "out", dynamic_spatial=True)
    with pytest.raises(ExportError, match="up to 499"):
        nd_deploy.export(network, SMALL, dynamic_spatial=True)


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        (lambda x, f: f(x) if x.shape[0] % 3 == 0 else f(x) * 2, "a batch of 1"),
        (lambda x, f: f(x) if x.shape[0] >= 3 else f(x) * 2, "a batch of 1"),
        (lambda x, f: f(x) if x.shape[0] < 5 else f(x) * 2, "decides by the batch"),
    ],
    ids=["thirds", "at least", "less than"],
)
def test_a_branch_on_the_batch_is_refused_unless_the_batch_is_fixed(function, complaint, tmp_path):
    network = one_layer(function)
    with pytest.raises(ExportError, match=complaint) as caught:
        nd_deploy.convert(network, SMALL, tmp_path / "out")
    assert "--static-batch" in caught.value.remedy
    bundle = nd_deploy.convert(network, SMALL, tmp_path / "out", dynamic_batch=False)
    at_sizes(bundle, network, [tuple(SMALL.shape)])


def test_parts_of_an_open_axis_are_refused_with_a_remedy(tmp_path):
    network = one_layer(lambda x, f: sum(f(x).chunk(2, 2)))
    with pytest.raises(ExportError, match=r"cannot be simplified: .*SplitToSequence") as caught:
        nd_deploy.convert(network, SMALL, tmp_path / "out", dynamic_spatial=True)
    assert "--dynamic-spatial" in caught.value.remedy


def taking(accepts):
    """A network that takes image sizes that are accepted, except from the exporter."""

    def forward(x, f):
        if not torch.compiler.is_exporting() and not accepts(*x.shape[2:]):
            raise ValueError("of another size")
        return f(x)

    torch.manual_seed(2)
    return Network(forward, trained(FastDeconv(3, 4, 3, padding=1), (3, 8, 12)))


def test_a_network_for_multiples_of_32_is_proven_at_another_multiple(tmp_path):
    network = taking(lambda height, width: height % 32 == width % 32 == 0)
    bundle = nd_deploy.convert(
        network, torch.randn(2, 3, 32, 64), tmp_path / "out", dynamic_spatial=True
    )
    assert bundle.warnings == []
    at_sizes(bundle, network, *images((32, 64), (64, 32)))


def test_a_network_that_takes_no_other_size_gets_a_warning(tmp_path):
    network = taking(lambda *size: size == (8, 12))
    bundle = nd_deploy.convert(network, SMALL, tmp_path / "out", dynamic_spatial=True)
    tried = "images of 5x8 or images of 6x9 or images of 40x76 or images of 16x24"
    assert bundle.warnings == [
        "the model is proven at the example's image size alone, since the network does not take "
        + tried
    ]


class Two(nn.Module):
    """A function of two inputs and one layer for each."""

    def __init__(self, function, *channels):
        super().__init__()
        torch.manual_seed(3)
        self.function = function
        self.layers = nn.ModuleList(FastDeconv(c, 4, 3, padding=1) for c in channels)

    def forward(self, a, b):
        return self.function(a, b, *self.layers)


def shapes(bundle):
    return [port.shape for port in bundle.manifest.inputs]


def test_inputs_of_different_sizes_have_open_axes_of_their_own(tmp_path):
    network = trained(
        Two(lambda a, b, f, g: f(a).mean((2, 3)) + g(b).mean((2, 3)), 3, 2), (3, 8, 9), (2, 8, 5)
    )
    inputs = torch.randn(2, 3, 8, 9), torch.randn(2, 2, 8, 5)
    bundle = nd_deploy.convert(network, inputs, tmp_path / "out", dynamic_spatial=True)
    assert shapes(bundle) == [
        ("batch", 3, "height", "width"),
        ("batch", 2, "height_1", "width_1"),
    ]
    at_sizes(bundle, network, [(3, 3, 6, 6), (3, 2, 5, 9)], [(1, 3, 8, 9), (1, 2, 8, 5)])


def test_inputs_that_are_joined_have_one_image_size(tmp_path):
    network = trained(
        Two(lambda a, b, f, g: torch.cat([f(a), g(b)], 1), 3, 2), (3, 8, 9), (2, 8, 9)
    )
    inputs = torch.randn(2, 3, 8, 9), torch.randn(2, 2, 8, 9)
    bundle = nd_deploy.convert(network, inputs, tmp_path / "out", dynamic_spatial=True)
    assert shapes(bundle) == [
        ("batch", 3, "height", "width"),
        ("batch", 2, "height", "width"),
    ]
    at_sizes(bundle, network, [(3, 3, 6, 7), (3, 2, 6, 7)])


def test_inputs_of_fixed_proportions_are_proven_at_twice_their_size(tmp_path):
    def joined(a, b, f, g):
        return f(a) + functional.interpolate(g(b), scale_factor=2)

    network = trained(Two(joined, 3, 2), (3, 8, 12), (2, 4, 6))
    inputs = torch.randn(2, 3, 8, 12), torch.randn(2, 2, 4, 6)
    bundle = nd_deploy.convert(network, inputs, tmp_path / "out", dynamic_spatial=True)
    assert bundle.warnings == []
    at_sizes(bundle, network, [(3, 3, 6, 10), (3, 2, 3, 5)])


def test_an_input_that_is_not_batched_keeps_its_shape(tmp_path):
    def scaled(a, b, f):
        return f(a) * b.mean()

    network = trained(Two(scaled, 3), (3, 6, 6), (1,))
    for other, expected in ((torch.tensor(0.5), ()), (torch.randn(3, 2), (3, 2))):
        inputs = torch.randn(2, 3, 6, 6), other
        folder = tmp_path / str(other.dim())
        bundle = nd_deploy.convert(network, inputs, folder, dynamic_spatial=True)
        assert shapes(bundle) == [("batch", 3, "height", "width"), expected]
        at_sizes(bundle, network, [(3, 3, 4, 5), tuple(other.shape)])
