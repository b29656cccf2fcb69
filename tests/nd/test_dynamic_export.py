"""Networks exported to take their statistics from every batch, in the runtimes that take them."""

import importlib.util
import subprocess
import sys

import numpy as np
import onnx
import onnx.inliner
import onnxruntime
import pytest
import torch
from small_networks import error, small_network, trained
from torch import nn

from nd_deploy.exporter import trace
from nd_deploy.nd.batch_statistics import batch_statistics_twin, on_batch_statistics
from nd_deploy.nd.layers import ChannelDeconv, Delinear, FastDeconv
from nd_deploy.nd.recognise import recognise
from nd_deploy.parity.record import record_reference
from nd_deploy.passes.model import split_parameters, store
from nd_deploy.passes.pipeline import run_passes
from nd_deploy.precision import cast
from nd_deploy.runtime.reference import ReferenceRunner

BUILD = """
import sys
import tensorrt_rtx as trt

logger = trt.Logger(trt.Logger.ERROR)
builder = trt.Builder(logger)
network = builder.create_network(0)
parser = trt.OnnxParser(network, logger)
with open(sys.argv[1], "rb") as file:
    parsed = parser.parse(file.read())
assert parsed, [parser.get_error(i).desc() for i in range(parser.num_errors)]
config = builder.create_builder_config()
profile = builder.create_optimization_profile()
shapes = [tuple(map(int, shape.split("x"))) for shape in sys.argv[2:]]
profile.set_shape(network.get_input(0).name, *shapes)
config.add_optimization_profile(profile)
assert builder.build_serialized_network(network, config) is not None
print("built", tuple(network.get_output(0).shape))
"""


def exported(network, x, **axes):
    recognition = on_batch_statistics(network, recognise(network))
    return store(trace(network, recognition, x, **axes))


@pytest.fixture(scope="module")
def network():
    return small_network().eval()


@pytest.fixture(scope="module")
def model(network):
    return exported(network, torch.zeros(2, 3, 9, 11), dynamic_spatial=True)


def session(model):
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.log_severity_level = 1, 3
    return onnxruntime.InferenceSession(
        model.SerializeToString(), settings, providers=["CPUExecutionProvider"]
    )


def truth(network, x):
    """The layers' own forward in training mode, in float64, the rest in eval mode."""
    with torch.no_grad():
        return batch_statistics_twin(network, recognise(network)).double()(x.double()).numpy()


def agree(found, network, x):
    """Whether float32 outputs are about as close to the truth as PyTorch's own, or closer."""
    expected = truth(network, x)
    with torch.no_grad():
        own = batch_statistics_twin(network, recognise(network))(x).numpy()
    return error(found, expected) < max(2e-5, 10 * error(own, expected))


def images(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) + 0.3


def test_each_layer_with_a_weight_becomes_its_statistics_and_a_native_node_of_its_name(model):
    nodes = {node.name: node for node in model.graph.node}
    assert [(name, nodes[name].op_type) for name in nodes if name[0].isdigit()] == [
        ("0.statistics", "NDFastDeconvDynamic"),
        ("0", "Conv"),
        ("2.statistics", "NDFastDeconvDynamic"),
        ("2", "Conv"),
        ("4", "NDChannelDeconvDynamic"),
        ("7.statistics", "NDDelinearDynamic"),
        ("7", "Gemm"),
    ]
    for layer in ("0", "2", "7"):
        assert list(nodes[layer].input[1:]) == list(nodes[f"{layer}.statistics"].output)


def test_convolutions_say_the_size_of_a_kernel_that_is_no_constant(model):
    for node in model.graph.node:
        if node.op_type == "Conv":
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            assert attributes["kernel_shape"] == [3, 3]


@pytest.mark.parametrize("shape", [(2, 3, 9, 11), (1, 3, 9, 11), (5, 3, 20, 8)])
def test_a_network_computes_as_its_layers_do_in_training_for_any_size(network, model, shape):
    x = images(*shape)
    (found,) = session(model).run(None, {"input": x.numpy()})
    assert agree(found, network, x)
    inlined = onnx.inliner.inline_local_functions(model)
    (found,) = session(inlined).run(None, {"input": x.numpy()})
    assert agree(found, network, x)


def test_the_traced_graph_is_exact_in_float64(network):
    x = images(4, 3, 9, 11)
    recognition = on_batch_statistics(network, recognise(network))
    model, parameters = split_parameters(trace(network, recognition, x))
    found = ReferenceRunner(model, parameters).run({"input": x.numpy()})["output"]
    assert error(found, truth(network, x)) < 1e-11


def test_what_comes_out_depends_on_what_else_is_in_the_batch(model):
    x = images(4, 3, 9, 11).numpy()
    run = session(model).run
    (together,), (alone,) = (run(None, {"input": part}) for part in (x, x[:1]))
    assert error(alone, together[:1]) > 1e-2


def test_a_linear_layer_of_sequences_is_a_product_with_a_bias():
    network = trained(nn.Sequential(Delinear(6, 6, block=3), nn.ReLU(), Delinear(6, 4)), (5, 6))
    model = exported(network, torch.zeros(2, 5, 6))
    x = images(3, 5, 6)
    (found,) = session(model).run(None, {"input": x.numpy()})
    assert agree(found, network, x)


def test_a_layer_that_is_called_twice_takes_statistics_each_time():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = FastDeconv(4, 4, 3, padding=1)

        def forward(self, x):
            return self.layer(self.layer(x).relu())

    torch.manual_seed(0)
    network = trained(Twice(), (4, 7, 7))
    model = exported(network, torch.zeros(2, 4, 7, 7))
    names = [node.name for node in model.graph.node]
    assert {"layer.statistics", "layer", "layer.statistics_1", "layer_1"} <= set(names)
    x = images(3, 4, 7, 7)
    (found,) = session(model).run(None, {"input": x.numpy()})
    assert agree(found, network, x)


def test_a_network_that_is_one_layer_is_exported():
    network = trained(ChannelDeconv(3), (4, 7, 7))
    x = images(3, 4, 7, 7)
    (found,) = session(exported(network, x)).run(None, {"input": x.numpy()})
    assert agree(found, network, x)


def test_the_passes_leave_what_is_computed_at_run_time_alone():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        ChannelDeconv(4),
        FastDeconv(8, 8, 3, padding=1, block=4),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Dropout(),
        nn.Flatten(),
        Delinear(8 * 36, 5, block=8),
    )
    network = trained(network, (3, 6, 6)).eval()
    x = images(4, 3, 6, 6)
    model = exported(network, x)
    folded = run_passes(model)
    dialect = [n.op_type for n in folded.model.graph.node if n.domain]
    assert dialect == ["NDChannelDeconvDynamic", "NDFastDeconvDynamic", "NDDelinearDynamic"]
    (found,) = session(folded.model).run(None, {"input": x.numpy()})
    assert agree(found, network, x)


def test_the_truth_is_recorded_layer_by_layer(network, model):
    x = images(3, 3, 9, 11)
    recognition = on_batch_statistics(network, recognise(network))
    twin = batch_statistics_twin(network, recognition)
    reference = record_reference(twin, recognition, {"input": x})
    np.testing.assert_allclose(reference.truth[0], truth(network, x), rtol=0, atol=1e-10)
    assert error(reference.float32[0], reference.truth[0]) < 2e-5
    assert sorted(reference.layers) == ["0", "2", "4", "7"]
    assert all(layer.torch_error < 2e-5 for layer in reference.layers.values())
    (found,) = session(model).run(None, {"input": x.numpy()})
    assert error(found, reference.truth[0]) < 2e-5


def built(model, tmp_path, *shapes):
    """The shape of the output of the engine that TensorRT-RTX builds, in a process of its own."""
    if importlib.util.find_spec("tensorrt_rtx") is None:
        pytest.skip("the tensorrt_rtx wheel is not installed")
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    sizes = ["x".join(map(str, shape)) for shape in shapes]
    result = subprocess.run(
        [sys.executable, "-c", BUILD, str(path), *sizes],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout.splitlines()[-1]


@pytest.mark.tensorrt
@pytest.mark.parametrize("form", ["functions", "inlined"])
def test_tensorrt_builds_a_network_for_any_size(model, tmp_path, form):
    if form == "inlined":
        model = onnx.inliner.inline_local_functions(model)
    shapes = (1, 3, 6, 6), (2, 3, 9, 11), (8, 3, 32, 32)
    assert built(model, tmp_path, *shapes) == "built (-1, 5)"


@pytest.mark.tensorrt
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_tensorrt_builds_a_narrow_network(model, tmp_path, dtype):
    shapes = (1, 3, 6, 6), (2, 3, 9, 11), (8, 3, 32, 32)
    assert built(cast(model, dtype), tmp_path, *shapes) == "built (-1, 5)"


def test_a_narrow_network_still_takes_its_statistics_in_float32(network, model):
    x = images(3, 3, 9, 11)
    (found,) = session(cast(model, "float16")).run(None, {"input": x.numpy()})
    assert error(found, truth(network, x)) < 1e-2


@pytest.mark.tensorrt
def test_tensorrt_builds_every_kind_of_layer_for_any_batch(tmp_path):
    torch.manual_seed(0)
    network = nn.Sequential(
        FastDeconv(3, 8, 7, stride=2, padding=3, n_iter=15, block=3),
        nn.ReLU(),
        FastDeconv(8, 8, 3, padding=2, dilation=2, groups=8, n_iter=1),
        FastDeconv(8, 6, 1, stride=2, block=4),
        ChannelDeconv(3),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        ChannelDeconv(4),
        ChannelDeconv(9, sampling_stride=1),
        Delinear(6, 5, block=3),
    )
    network = trained(network, (3, 16, 16))
    x = images(4, 3, 16, 16)
    for axes in ({}, {"dynamic_batch": False}):
        model = exported(network, x, **axes)
        (found,) = session(model).run(None, {"input": x.numpy()})
        assert agree(found, network, x)
        least, most = (1, 16) if not axes else (4, 4)
        shapes = (least, 3, 16, 16), (4, 3, 16, 16), (most, 3, 16, 16)
        assert built(model, tmp_path, *shapes) == f"built ({4 if axes else -1}, 5)"
