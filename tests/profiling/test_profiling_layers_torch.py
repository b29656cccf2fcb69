"""Layers in PyTorch, by a clock that tells how often it was read."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from nd_deploy.profiling.contestant import TORCH, TORCH_CUDA, Contestant
from nd_deploy.profiling.figures import LayerTime
from nd_deploy.profiling.layers import layer_times
from nd_deploy.profiling.subjects.base import Job
from nd_deploy.runtime.options import RunOptions


class Whitened(nn.Module):
    """Stands in for an ND layer that is made of other modules."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(3, 3)

    def forward(self, x):
        return self.inner(x)


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = Whitened()
        self.relu = nn.ReLU()
        self.blocks = nn.Sequential(nn.Linear(3, 3), nn.Identity())

    def forward(self, x):
        return self.relu(self.blocks(self.relu(self.first(x)))) + 1


class Source:
    def __init__(self):
        self.network = Network().eval()

    def load(self):
        return self.network


class Ticks:
    """A clock whose readings lie 1, 2, 3, ... microseconds apart."""

    def __init__(self):
        self.now = 0
        self.steps = itertools.count(1)

    def __call__(self):
        self.now += next(self.steps) * 1000
        return self.now


def job(source, runtime=TORCH):
    feeds = {"x": np.ones((2, 3), np.float32)}
    return Job(Contestant("net", runtime, 2), None, source, RunOptions(), feeds)


def expected(run, calls=5):
    """Seconds of each call of a run, of which each reads the clock before and after itself."""
    first = 2 * calls * run
    # The second of a pair of readings comes as many microseconds later as its number.
    return [(first + 2 * call + 2) * 1e-6 for call in range(calls)]


def test_every_module_s_time_is_between_two_readings_of_the_clock():
    times = layer_times(job(Source()), 3, ("first", "blocks.0"), Ticks())
    # Runs 3, 4 and 5 count, of which 4 is the median. The ReLU is called twice.
    first, relu, linear, identity, relu_again = expected(4)
    assert times == (
        LayerTime("first", "Whitened", pytest.approx(first), "first"),
        LayerTime("relu", "ReLU", pytest.approx(relu + relu_again)),
        LayerTime("blocks.0", "Linear", pytest.approx(linear), "blocks.0"),
        LayerTime("blocks.1", "Identity", pytest.approx(identity)),
    )


def test_a_module_in_no_nd_layer_is_told_by_its_leaves():
    names = [layer.name for layer in layer_times(job(Source()), 1, ())]
    assert names == ["first.inner", "relu", "blocks.0", "blocks.1"]


def test_the_user_s_network_keeps_no_hook():
    source = Source()
    layer_times(job(source), 1, ("first",))
    for module in source.network.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks


def test_not_even_if_it_fails():
    source = Source()
    source.network.blocks[0] = nn.Linear(7, 7)
    with pytest.raises(Exception, match="shapes"):
        layer_times(job(source), 1, ("first",))
    assert not source.network.relu._forward_hooks


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch sees no GPU")
def test_on_a_gpu_the_times_are_the_gpu_s():
    times = layer_times(job(Source(), TORCH_CUDA), 5, ("first",))
    assert [layer.name for layer in times] == ["first", "relu", "blocks.0", "blocks.1"]
    assert all(0 < layer.seconds < 1 for layer in times)
