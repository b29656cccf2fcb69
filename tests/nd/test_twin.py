import copy
import threading

import pytest
import torch
from torch import nn

from nd_deploy.errors import InputError
from nd_deploy.nd.layers import ChannelDeconv
from nd_deploy.nd.twin import float32_copy, float64_twin, widened_in_turn


def test_inside_the_block_each_module_is_float64_while_it_runs_and_float32_before_and_after():
    seen = []

    class Looks(nn.Linear):
        def forward(self, x):
            seen.append((self.weight.dtype, x.dtype))
            return super().forward(x)

    users = nn.Sequential(Looks(3, 3), nn.ReLU(), Looks(3, 2))
    network = float32_copy(users)
    places = {name: p.data_ptr() for name, p in network.named_parameters()}
    with widened_in_turn(network), torch.no_grad():
        assert {p.dtype for p in network.parameters()} == {torch.float32}
        network(torch.randn(4, 3).double())
        assert {p.dtype for p in network.parameters()} == {torch.float32}
    assert seen == [(torch.float64, torch.float64)] * 2
    # The very tensors, which share memory with the user's.
    assert {name: p.data_ptr() for name, p in network.named_parameters()} == places
    assert {name: p.data_ptr() for name, p in users.named_parameters()} == places


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_forward_that_raises_leaves_everything_in_float32(error):
    class Raises(nn.Linear):
        def forward(self, x):
            super().forward(x)
            raise error

    network = float32_copy(nn.Sequential(nn.Sequential(Raises(3, 3), nn.BatchNorm1d(3))))
    before = copy.deepcopy(network.state_dict())
    with pytest.raises(error), widened_in_turn(network):
        network(torch.randn(4, 3).double())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())
    for name, tensor in network.state_dict().items():
        assert tensor.dtype == before[name].dtype
        assert torch.equal(tensor, before[name])


def test_copies_are_evaluated_on_their_own_and_leave_the_users_network_alone():
    users = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), ChannelDeconv(3)).train()
    users.half()
    for twin, dtype in ((float32_copy(users), torch.float32), (float64_twin(users), torch.float64)):
        floating = [t for t in twin.state_dict().values() if t.is_floating_point()]
        assert {tensor.dtype for tensor in floating} == {dtype}
        assert not any(module.training for module in twin.modules())
        assert not any(p.requires_grad for p in twin.parameters())
    twin[0].weight.zero_()
    assert users[0].weight.any()
    assert users.training
    assert users[0].weight.dtype == torch.float16
    assert users[0].weight.requires_grad
    assert users[2].num_batches_tracked == 0


def test_parameters_are_shared_and_what_a_forward_may_write_to_is_not():
    users = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    twin = float32_copy(users)
    assert twin[0].weight.data_ptr() == users[0].weight.data_ptr()
    twin[1].running_mean.fill_(5)
    twin[1].num_batches_tracked += 1
    assert not users[1].running_mean.any()
    assert users[1].num_batches_tracked == 0


def test_modules_and_parameters_under_two_names_stay_one():
    first = nn.Linear(3, 3)
    users = nn.Sequential(first, first, nn.Linear(3, 3))
    users[2].weight = first.weight
    for twin in (float32_copy(users), float64_twin(users)):
        assert twin[0] is twin[1]
        assert twin[2].weight is twin[0].weight


@pytest.mark.parametrize("make", [float32_copy, float64_twin])
def test_what_cannot_be_copied_is_told(make):
    network = nn.Sequential(nn.Linear(3, 3))
    network.lock = threading.Lock()
    with pytest.raises(InputError, match=r"cannot be copied: TypeError: .*lock"):
        make(network)


def test_computing_in_float32_inside_the_block_is_refused():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scales = nn.ParameterList([nn.Parameter(torch.randn(3))])

        def forward(self, x):
            # PyTorch would widen the product, of factors that are exact to 24 bits only.
            return x * torch.softmax(self.scales[0], 0)

    network = float32_copy(Scaled())
    with pytest.raises(RuntimeError, match="computes in float32"), widened_in_turn(network):
        network(torch.randn(2, 3).double())
