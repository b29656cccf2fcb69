import onnx
import onnxruntime
import pytest
import torch
from small_networks import small_network, trained
from torch import nn

import nd_deploy
from nd_deploy.errors import ExportError, UnsupportedLayerError
from nd_deploy.exporter import trace
from nd_deploy.nd import dialect
from nd_deploy.nd.layers import ChannelDeconv, FastDeconv
from nd_deploy.nd.recognise import recognise
from nd_deploy.nd.twin import float64_twin
from nd_deploy.passes.model import split_parameters
from nd_deploy.runtime.reference import ReferenceRunner


@pytest.fixture(scope="module")
def network():
    return small_network().eval()


@pytest.fixture(scope="module")
def model(network):
    return nd_deploy.export(network, torch.zeros(2, 3, 9, 11))


def run(model, *inputs):
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names = [port.name for port in session.get_inputs()]
    return session.run(None, dict(zip(names, (x.numpy() for x in inputs), strict=True)))


def relative_error(actual, module, *inputs):
    """Against PyTorch in float64."""
    with torch.no_grad():
        truth = float64_twin(module)(*(x.double() for x in inputs))
    return float((torch.from_numpy(actual).double() - truth).abs().max() / truth.abs().max())


def dialect_ops(model):
    return [node.op_type for node in model.graph.node if node.domain == dialect.DOMAIN]


def test_each_layer_becomes_one_dialect_node_named_after_it(model):
    nodes = [(n.name, n.op_type) for n in model.graph.node if n.domain == dialect.DOMAIN]
    assert nodes == [
        ("0", "NDFastDeconv"),
        ("2", "NDFastDeconv"),
        ("4", "NDChannelDeconvLeftover"),
        ("7", "NDDelinear"),
    ]


def test_the_unfolded_model_runs_and_takes_any_batch(network, model):
    for batch in (1, 2, 5):
        x = torch.randn(batch, 3, 9, 11)
        assert relative_error(run(model, x)[0], network, x) < 1e-6


def test_the_image_size_stays_open_on_request(network):
    model = nd_deploy.export(network, torch.zeros(2, 3, 9, 11), dynamic_spatial=True)
    for size in ((9, 11), (16, 5)):
        x = torch.randn(3, 3, *size)
        assert relative_error(run(model, x)[0], network, x) < 1e-6


def test_a_batch_of_one_as_the_example_still_leaves_the_batch_open(network):
    model = nd_deploy.export(network, torch.zeros(1, 3, 9, 11))
    assert run(model, torch.zeros(4, 3, 9, 11))[0].shape == (4, 5)


def test_the_model_passes_the_full_checker(model):
    dialect.register_schemas()
    onnx.checker.check_model(model, full_check=True)


def test_two_exports_are_the_same_bytes(network, model):
    again = nd_deploy.export(network, torch.zeros(2, 3, 9, 11))
    assert again.SerializeToString(deterministic=True) == model.SerializeToString(
        deterministic=True
    )


def test_nothing_of_the_exporting_machine_is_left_in_the_model(model):
    assert b"stack_trace" not in model.SerializeToString()
    assert __file__.encode() not in model.SerializeToString()
    assert not any(node.metadata_props for node in model.graph.node)


def float64_error(network, inputs):
    """Of the traced graph, executed in float64, against PyTorch in float64."""
    model, parameters = split_parameters(trace(network, recognise(network), inputs))
    actual = ReferenceRunner(model, parameters).run({"input": inputs.numpy()})["output"]
    return relative_error(actual, network, inputs)


def test_batch_norm_is_exact_in_float64_though_onnx_keeps_its_epsilon_in_float32():
    torch.manual_seed(1)
    layers = nn.Sequential(nn.BatchNorm2d(3, eps=1e-3), nn.ReLU(), FastDeconv(3, 4, 3))
    network = trained(layers, (3, 8, 8), steps=2).eval()
    network[0].running_var.fill_(1e-4)
    assert float64_error(network, torch.randn(2, 3, 8, 8)) < 1e-13


def test_a_number_given_to_an_op_is_exact_in_float64():
    class Leaky(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = FastDeconv(3, 4, 3, padding=1)

        def forward(self, x):
            return nn.functional.leaky_relu(self.layer(x), 0.01)

    assert float64_error(Leaky().eval(), torch.randn(2, 3, 5, 5)) < 1e-13


def test_a_tensor_that_is_no_parameter_is_exported_with_its_contents():
    class Shifted(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = FastDeconv(3, 4, 1)
            self.shift = torch.tensor([0.5, -1.0, 2.0]).view(3, 1, 1)

        def forward(self, x):
            return self.layer(x + self.shift)

    assert float64_error(Shifted().eval(), torch.randn(2, 3, 5, 5)) < 1e-13


def test_a_parameter_that_another_module_reads_is_exported():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = FastDeconv(3, 3, 1), nn.Linear(3, 3)

        def forward(self, x):
            return nn.functional.linear(self.first(x).mean((2, 3)), self.second.weight.T)

    assert float64_error(Tied().eval(), torch.randn(2, 3, 5, 5)) < 1e-13


def test_a_shared_layer_is_exported_at_each_place_under_its_own_name():
    torch.manual_seed(2)
    layer = FastDeconv(4, 4, 3, padding=1)
    network = trained(nn.Sequential(layer, nn.ReLU(), layer), (4, 7, 7)).eval()
    model = nd_deploy.export(network, torch.zeros(2, 4, 7, 7))
    assert [node.name for node in model.graph.node if node.domain] == ["0", "0_1"]
    x = torch.randn(2, 4, 7, 7)
    assert relative_error(run(model, x)[0], network, x) < 1e-6


def test_the_network_may_be_an_nd_layer_itself():
    layer = trained(FastDeconv(4, 4, 3, padding=1), (4, 7, 7)).eval()
    model = nd_deploy.export(layer, torch.zeros(2, 4, 7, 7))
    assert [node.name for node in model.graph.node] == ["network"]


def test_several_inputs_and_outputs_are_numbered_and_those_of_a_dict_named():
    class TwoInputs(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right = FastDeconv(3, 4, 1), FastDeconv(2, 4, 1)

        def forward(self, a, b):
            return self.left(a) + self.right(b), {"left": self.left(a)}

    network = TwoInputs().eval()
    a, b = torch.randn(2, 3, 5, 5), torch.randn(2, 2, 5, 5)
    model = nd_deploy.export(network, (a, b))
    assert [port.name for port in model.graph.input] == ["input_0", "input_1"]
    assert [port.name for port in model.graph.output] == ["output_0", "output_1.left"]
    with torch.no_grad():
        left = network.left(a)
    assert torch.allclose(torch.from_numpy(run(model, a, b)[1]), left, atol=1e-5)


def test_fewer_channels_than_the_block_are_normalised_as_leftovers():
    layer = ChannelDeconv(16)
    layer.running_deconv.fill_(float("nan"))
    layer.running_mean2.fill_(0.25)
    layer.running_var.fill_(4.0)
    network = nn.Sequential(layer).eval()
    model = nd_deploy.export(network, torch.zeros(2, 5, 3, 3))
    x = torch.randn(2, 5, 3, 3)
    expected = (x - 0.25) / (4.0 + layer.eps) ** 0.5
    assert torch.allclose(torch.from_numpy(run(model, x)[0]), expected, atol=1e-6)


def test_nan_in_a_d_that_is_read_is_refused_with_the_layer():
    layer = ChannelDeconv(4)
    layer.running_deconv.fill_(float("nan"))
    network = nn.Sequential(nn.ReLU(), layer).eval()
    with pytest.raises((UnsupportedLayerError, ExportError), match="layer 1: running_deconv"):
        nd_deploy.export(network, torch.zeros(2, 8, 3, 3))


def test_a_network_that_cannot_be_traced_gets_the_reason_and_a_remedy():
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = FastDeconv(3, 4, 1)

        def forward(self, x):
            y = self.layer(x)
            return y if y.sum() > 0 else -y

    with pytest.raises(ExportError, match="data-dependent") as error:
        nd_deploy.export(Branching().eval(), torch.zeros(2, 3, 4, 4))
    assert "--static-batch" in error.value.remedy


def test_the_network_is_left_as_it_was(network):
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    nd_deploy.export(network, torch.zeros(2, 3, 9, 11))
    assert isinstance(network[0], FastDeconv)
    for name, tensor in network.state_dict().items():
        assert tensor.dtype == before[name].dtype
        assert torch.equal(tensor, before[name])
