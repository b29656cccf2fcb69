"""ChannelDeconv with the batch's own statistics, against PyTorch in float64 and in float32."""

from __future__ import annotations

import math
from dataclasses import dataclass

import dynamic_calls
import emulated
import numpy as np
import pytest
import torch
from dynamic_calls import assert_rounded, channel_deconv, distance, images, tensor
from emulated import Order
from kernel_calls import TYPES, Kernels, filled
from torch import Tensor

from nd_deploy.nd.layers import ChannelDeconv

SOURCES = ("channel_deconv_dynamic.cu", "channel_deconv.cu", "errors.cpp")


@dataclass(frozen=True)
class Case:
    """A module by its arguments, and the shape of its input."""

    shape: tuple[int, ...]
    block: int
    n_iter: int = 5
    sampling_stride: int = 3
    eps: float = 1e-2

    def module(self) -> ChannelDeconv:
        return ChannelDeconv(self.block, self.eps, self.n_iter, 0.1, self.sampling_stride)

    def expected(self, x: np.ndarray, dtype: torch.dtype = torch.float64) -> Tensor:
        """The first training step, whose statistics are the batch's."""
        with torch.no_grad():
            return self.module().to(dtype)(tensor(x, dtype))

    @property
    def name(self) -> str:
        sizes = "x".join(map(str, self.shape))
        return f"{sizes}-block{self.block}-n{self.n_iter}-s{self.sampling_stride}"


CASES = [
    Case((2, 64, 6, 5), 64, sampling_stride=1),
    Case((2, 32, 7, 9), 8),  # sampled through 4 blocks
    Case((3, 13, 5, 4), 4, n_iter=3, sampling_stride=2),  # 1 channel left over
    Case((2, 11, 3, 7), 8, sampling_stride=4),  # maps smaller than the stride: all sampled
    Case((2, 5, 6, 6), 8),  # all channels left over
    Case((40, 48), 16, n_iter=15),
    Case((9, 20), 16, n_iter=1),
    Case((1, 6, 9, 9), 3, n_iter=0),
    Case((4, 72, 7, 7), 72, n_iter=2, sampling_stride=1),
    Case((2, 150, 6, 7), 70, n_iter=1),  # 2 blocks, 10 channels left over
]


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_shape_and_type_equals_float64_up_to_the_types_rounding(kernels, case, name):
    x = images(case.shape, TYPES[name])
    y = channel_deconv(kernels, case.module(), x)
    # Away from its mean x is as large as y, and cancels where it is multiplied in 16 bits.
    assert_rounded(y, case.expected(x), name, allowed=2.0**-18 if name == "float32" else 2.0**-13)


@pytest.mark.parametrize("case", [CASES[0], CASES[1], CASES[3], CASES[8]], ids=lambda c: c.name)
def test_float32_is_no_less_accurate_than_pytorch(kernels, case):
    x = images(case.shape, np.float32)
    exact = case.expected(x)
    pytorch = distance(case.expected(x, torch.float32).double(), exact)
    assert distance(channel_deconv(kernels, case.module(), x), exact) <= pytorch


def test_the_leftover_variance_is_exact_far_from_zero(kernels):
    case = Case((2, 3, 40, 40), 8, sampling_stride=1)
    x = images(case.shape, np.float32, offset=1000.0)
    exact = case.expected(x)
    pytorch = distance(case.expected(x, torch.float32).double(), exact)
    # The mean, rounded to float32, is all that either loses.
    assert distance(channel_deconv(kernels, case.module(), x), exact) <= 2 * pytorch + 1e-6


def test_dead_channels_cost_no_more_accuracy_than_in_pytorch(kernels):
    for case in (CASES[1], CASES[8]):
        x = images(case.shape, np.float32)
        x[:, ::5] = 0.0
        exact = case.expected(x)
        pytorch = distance(case.expected(x, torch.float32).double(), exact)
        assert distance(channel_deconv(kernels, case.module(), x), exact) <= pytorch


@pytest.mark.parametrize(
    "case", [Case((2, 34, 6, 6), 17, n_iter=250), Case((2, 66, 6, 6), 66, n_iter=26)]
)
def test_steps_may_be_many(kernels, case):
    x = images(case.shape, np.float32)
    exact = case.expected(x)
    pytorch = distance(case.expected(x, torch.float32).double(), exact)
    assert distance(channel_deconv(kernels, case.module(), x), exact) <= pytorch


def test_a_single_leftover_value_has_no_variance_as_in_pytorch(kernels):
    case = Case((1, 3), 2)
    y = channel_deconv(kernels, case.module(), images(case.shape, np.float32))
    np.testing.assert_array_equal(np.isnan(y), [[False, False, True]])


@pytest.mark.parametrize("order", [Order.REVERSE, Order.RANDOM])
def test_the_result_does_not_depend_on_the_order_of_threads(emulation, order):
    for case in (CASES[1], CASES[2], CASES[9]):
        x = images(case.shape, np.float32)
        forward = channel_deconv(emulation, case.module(), x)
        with emulation.library.order(order, seed=5):
            other = channel_deconv(emulation, case.module(), x)
        np.testing.assert_array_equal(forward.view(np.uint32), other.view(np.uint32))


SANITIZED = """
import sys
import emulated, numpy as np
from dynamic_calls import channel_deconv, distance, images
from kernel_calls import HostMemory, Kernels
from test_channel_deconv_dynamic_kernel import CASES

kernels = Kernels(emulated.Library(sys.argv[1]), HostMemory())
for case in CASES:
    x = images(case.shape, np.float32)
    y = channel_deconv(kernels, case.module(), x)
    assert distance(y, case.expected(x)) < 4e-6, case
"""


def test_nothing_outside_of_the_tensors_is_touched(tmp_path_factory):
    library = emulated.build(tmp_path_factory, *SOURCES, sanitize=True, flags=["-O0"])
    emulated.run_sanitized(library, SANITIZED)


@pytest.mark.parametrize("shape", [(0, 8, 3, 3), (2, 0, 3, 3), (2, 8, 0, 3)])
def test_an_empty_tensor_is_no_error(kernels, shape):
    assert channel_deconv(kernels, ChannelDeconv(4), np.empty(shape, np.float32)).shape == shape


@pytest.mark.parametrize("block", [64, 70, 512])
def test_the_workspace_of_a_larger_batch_serves_a_smaller_one(emulation, block):
    function = emulation.library.functions.nd_channel_deconv_dynamic_workspace
    needed = [function(batch, 1024, 7, 7, block, 0) for batch in (1, 2, 8, 31, 32, 200)]
    assert needed == sorted(needed)
    assert needed[0] > 0


def call_with(kernels: Kernels, **changes: object) -> int:
    arrays = [filled((4096,), np.float32) for _ in range(2)]
    memory = dynamic_calls.workspace(1 << 20)
    arguments: dict[str, object] = {"x": arrays[0].ctypes.data, "y": arrays[1].ctypes.data}
    arguments |= {"type": 0, "batch": 1, "channels": 7, "height": 4, "width": 3, "block": 3}
    arguments |= {"eps": 1e-2, "n_iter": 5, "sampling_stride": 3}
    arguments |= {"workspace": memory.ctypes.data, "workspace_bytes": memory.size}
    arguments |= changes
    return int(kernels.library.functions.nd_channel_deconv_dynamic(*arguments.values(), None))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"type": -1}, "type"),
        ({"x": None}, "null"),
        ({"y": None}, "null"),
        ({"workspace": None}, "workspace"),
        ({"workspace": 4096 + 16}, "workspace"),
        ({"workspace_bytes": 256}, "workspace"),
        ({"batch": -1}, "out of range"),
        ({"batch": 2**40}, "out of range"),
        ({"block": 0}, "out of range"),
        ({"n_iter": -1}, "out of range"),
        ({"sampling_stride": 0}, "out of range"),
        ({"eps": -1.0}, "out of range"),
        ({"eps": math.inf}, "out of range"),
    ],
    ids=str,
)
def test_senseless_arguments_are_refused_in_words(emulation, changes, words):
    code = call_with(emulation, **changes)
    assert code < 0
    assert words in emulation.library.functions.nd_error_text(code).decode()


def test_sensible_arguments_are_not_refused(emulation):
    assert call_with(emulation) == 0
    assert call_with(emulation, sampling_stride=2**31 - 1) == 0
