import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from nd_deploy.errors import InputError
from nd_deploy.nd.layers import ChannelDeconv, Delinear, FastDeconv
from nd_deploy.nd.recognise import recognise
from nd_deploy.parity.record import record_reference

EXACT = 1e-14


def settled(network, *shape):
    """The network after a few training steps."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _ in range(3):
            network(torch.randn(8, *shape, generator=generator) + 0.3)
    return network


def record(network, *inputs):
    named = {f"input_{index}": x for index, x in enumerate(inputs)}
    return record_reference(network, recognise(network), named)


def doubled(network, *inputs):
    """The float64 outputs by module.double(), which copies every weight."""
    with torch.no_grad():
        return copy.deepcopy(network).eval().double()(*(x.double() for x in inputs))


def assert_exact(reference, expected):
    outputs = [expected] if isinstance(expected, torch.Tensor) else list(expected)
    assert len(reference.truth) == len(outputs)
    for actual, y in zip(reference.truth, outputs, strict=True):
        assert actual.dtype == np.float64
        assert np.abs(actual - y.numpy()).max() <= EXACT * y.abs().max().item()


class Calls(nn.Module):
    """Modules, and a function that uses them."""

    def __init__(self, function, *modules):
        super().__init__()
        self.function, self.held = function, nn.ModuleList(modules)

    def forward(self, x):
        return self.function(x, *self.held)


def nested():
    inner = nn.Sequential(FastDeconv(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
    return nn.Sequential(inner, ChannelDeconv(3), nn.Sequential(nn.Flatten(), Delinear(64, 5)))


def shared():
    layer = FastDeconv(3, 3, 3, padding=1)
    return nn.Sequential(layer, nn.ReLU(), layer, nn.BatchNorm2d(3))


def tied():
    first, second = nn.Conv2d(3, 3, 1), FastDeconv(3, 3, 1)
    second.weight = first.weight
    return nn.Sequential(first, nn.ReLU(), second)


def reads_anothers_weight():
    def forward(x, conv, linear):
        return functional.linear(conv(x).mean((2, 3)), linear.weight.T)

    return Calls(forward, FastDeconv(3, 4, 1), nn.Linear(4, 4))


def scales_by_a_function_of_anothers_parameter():
    def forward(x, conv, scales):
        return conv(x) * torch.softmax(scales[0], 0).view(-1, 1, 1)

    scales = nn.ParameterList([nn.Parameter(torch.randn(4))])
    return Calls(forward, FastDeconv(3, 4, 1), scales)


def recurrent():
    rnn = nn.LSTM(4, 5, batch_first=True)
    return Calls(lambda x, conv, rnn: rnn(conv(x).mean(2))[0], FastDeconv(3, 4, 1), rnn)


def attention():
    def forward(x, conv, attend):
        tokens = conv(x).flatten(2).mT
        return attend(tokens, tokens, tokens)[0]

    return Calls(forward, FastDeconv(3, 4, 1), nn.MultiheadAttention(4, 2, batch_first=True))


def reparametrised():
    conv = nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 4, 3))
    return nn.Sequential(FastDeconv(3, 4, 1), conv)


NETWORKS = [
    nested,
    shared,
    tied,
    reads_anothers_weight,
    scales_by_a_function_of_anothers_parameter,
    recurrent,
    attention,
    reparametrised,
]


@pytest.mark.parametrize("build", NETWORKS, ids=lambda build: build.__name__)
def test_the_truth_is_the_float64_forward_of_the_network_in_eval_mode(build):
    torch.manual_seed(1)
    network = settled(build(), 3, 4, 4)
    x = torch.randn(3, 3, 4, 4)
    state = copy.deepcopy(network.state_dict())
    reference = record(network, x)

    assert_exact(reference, doubled(network, x))
    with torch.no_grad():
        float32 = copy.deepcopy(network).eval()(x)
    assert np.array_equal(reference.float32[0], float32.numpy())
    rounding = (float32.double() - doubled(network, x)).abs().max()
    expected = (rounding / doubled(network, x).abs().max()).item()
    assert reference.torch_error == pytest.approx(expected, rel=1e-6)

    assert network.training
    for name, tensor in network.state_dict().items():
        assert tensor.dtype == state[name].dtype
        assert torch.equal(tensor, state[name])


def test_every_nd_layers_output_is_kept_and_of_a_shared_one_the_first():
    torch.manual_seed(2)
    network = settled(shared(), 3, 4, 4)
    x = torch.randn(2, 3, 4, 4)
    reference = record(network, x)
    with torch.no_grad():
        first = copy.deepcopy(network).eval().double()[0](x.double()).flatten()
    assert list(reference.layers) == ["0"]
    assert np.abs(reference.layers["0"].truth - first.numpy()).max() <= EXACT * first.abs().max()
    assert 0 < reference.layers["0"].torch_error < 1e-6


def test_the_inputs_are_kept_as_they_were_given():
    class Embeds(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.layer = nn.Embedding(9, 4), Delinear(4, 2)

        def forward(self, tokens, shift):
            return self.layer(self.table(tokens) + shift.sub_(1))

    tokens, shift = torch.tensor([[1, 8], [0, 3]]), torch.randn(2, 2, 4)
    before = shift.clone()
    network = Embeds()
    reference = record(network, tokens, shift)
    assert torch.equal(shift, before)
    assert np.array_equal(reference.inputs["input_0"], tokens)
    assert reference.inputs["input_0"].dtype == np.int64
    assert np.array_equal(reference.inputs["input_1"], before)
    assert reference.samples == 2
    with torch.no_grad():
        assert_exact(reference, copy.deepcopy(network).eval().double()(tokens, before.double()))


def test_outputs_are_listed_in_the_order_of_the_networks_own():
    def forward(x, conv):
        return {"b": conv(x), "a": [x, (None, x + 1)], "none": None}

    x = torch.randn(2, 3, 4, 4)
    network = Calls(forward, FastDeconv(3, 4, 1))
    expected = doubled(network, x)
    assert_exact(record(network, x), [expected["b"], expected["a"][0], expected["a"][1][1]])


def test_a_layer_that_overwrites_its_statistics_before_the_first_step_is_kept_from_it():
    class Official(nn.Module):
        """Evaluated before any training step, it loses its mean and crashes."""

        def __init__(self):
            super().__init__()
            self.eps = 1e-2
            self.register_buffer("running_mean1", torch.full((4, 1), 0.5))
            self.register_buffer("running_deconv", torch.eye(4) * 2)
            self.register_buffer("running_mean2", torch.zeros(1, 1))
            self.register_buffer("running_var", torch.ones(1, 1))
            self.register_buffer("num_batches_tracked", torch.tensor(0))

        def forward(self, x):
            if self.num_batches_tracked == 0:
                self.running_mean1.zero_()
                raise UnboundLocalError("deconv")
            whole = x.shape[1] // 4 * 4
            tail = x[:, whole:] / (1 + self.eps) ** 0.5
            return torch.cat([(x[:, :whole] - 0.5) * 2, tail], 1)

    network = nn.Sequential(Official())
    x = torch.randn(2, 4, 3, 3)
    assert_exact(record(network, x), (x.double() - 0.5) * 2)
    assert (network[0].running_mean1 == 0.5).all()
    assert network[0].num_batches_tracked == 0


def test_a_tensor_that_is_a_plain_attribute_is_widened_too():
    class Blur(nn.Module):
        def __init__(self):
            super().__init__()
            self.kernel = torch.rand(3, 1, 3, 3)

        def forward(self, x):
            return functional.conv2d(x, self.kernel, groups=3)

    network = nn.Sequential(Blur())
    x = torch.randn(2, 3, 5, 5)
    kernel = network[0].kernel
    expected = functional.conv2d(x.double(), kernel.double(), groups=3)
    assert_exact(record(network, x), expected)
    assert network[0].kernel is kernel
    assert kernel.dtype == torch.float32


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_weight_that_a_hook_computes_is_computed_in_float64():
    conv = nn.utils.weight_norm(nn.Conv2d(3, 4, 1))
    x = torch.randn(2, 3, 5, 5)
    direction = conv.weight_v.detach().double()
    length = direction.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    weight = direction / length * conv.weight_g.detach().double()
    expected = functional.conv2d(x.double(), weight, conv.bias.detach().double())
    assert_exact(record(nn.Sequential(conv), x), expected)


def test_an_error_of_the_networks_own_code_is_told_with_the_shape():
    def forward(x, conv):
        raise KeyError("stage5")

    network = Calls(forward, FastDeconv(3, 4, 1))
    with pytest.raises(InputError, match=r"shape \(2, 3, 4, 4\).*KeyError: 'stage5'"):
        record(network, torch.randn(2, 3, 4, 4))
