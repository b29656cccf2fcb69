"""What the statistics of a batch take to be folded into a weight, and what is refused."""

from __future__ import annotations

import ctypes
import math

import dynamic_calls
import numpy as np
import pytest
from dynamic_calls import Layer
from emulated import NdFastDeconvShape
from kernel_calls import Kernels, filled


def workspace_bytes(kernels: Kernels, shape: NdFastDeconvShape, code: int = 0) -> int:
    function = kernels.library.functions.nd_fast_deconv_dynamic_workspace
    return int(function(ctypes.byref(shape), code))


@pytest.mark.parametrize("sizes", [(64, 64, 3), (512, 64, 3), (1632, 1632, 1), (3, 3, 7)])
def test_the_workspace_of_a_larger_batch_serves_a_smaller_one(emulation, sizes):
    channels, block, kernel = sizes
    layer = Layer("", (1, channels, 8, 8), {"kernel_size": kernel, "padding": 3, "block": block})
    shape = layer.c_shape()
    needed = []
    for batch in (1, 2, 5, 20, 31, 32, 33, 64, 300, 1000):
        shape.batch = batch
        needed.append(workspace_bytes(emulation, shape))
    assert needed == sorted(needed)
    assert needed[0] > 0


def test_the_workspace_does_not_grow_with_the_batch_for_ever(emulation):
    shape = Layer("", (1, 64, 56, 56), {"kernel_size": 3, "padding": 1}).c_shape()
    shape.batch = 1024
    assert workspace_bytes(emulation, shape) < 64 << 20


def call_with(kernels: Kernels, **changes: object) -> int:
    shape = Layer("", (1, 6, 5, 5), {"kernel_size": 3}, 4).c_shape()
    arrays = [filled((4096,), np.float32) for _ in range(5)]
    memory = dynamic_calls.workspace(1 << 20)
    arguments: dict[str, object] = {
        name: array.ctypes.data
        for name, array in zip(
            ("x", "weight", "bias", "folded_weight", "folded_bias"), arrays, strict=True
        )
    }
    arguments |= {"type": 0, "shape": ctypes.byref(shape), "workspace": memory.ctypes.data}
    arguments |= {"workspace_bytes": memory.size}
    for name, value in changes.items():
        if name in arguments:
            arguments[name] = value
        elif isinstance(value, tuple):
            getattr(shape, name)[:] = value
        else:
            setattr(shape, name, value)
    return int(kernels.library.functions.nd_fast_deconv_dynamic(*arguments.values(), None))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"type": 3}, "type"),
        ({"x": None}, "null"),
        ({"bias": None}, "null"),
        ({"folded_weight": None}, "null"),
        ({"shape": None}, "null"),
        ({"workspace": None}, "workspace"),
        ({"workspace": 4096 + 16}, "workspace"),
        ({"workspace_bytes": 4096}, "workspace"),
        ({"batch": 0}, "statistics"),
        ({"height": 2}, "statistics"),
        ({"batch": -1}, "out of range"),
        ({"batch": 2**40}, "out of range"),
        ({"in_channels": 0}, "out of range"),
        ({"groups": 4}, "contradict"),
        ({"groups": 0}, "out of range"),
        ({"groups": 3}, "contradict"),
        ({"block": 4}, "contradict"),
        ({"block": 0}, "out of range"),
        ({"n_iter": -1}, "out of range"),
        ({"eps": -1.0}, "out of range"),
        ({"eps": math.nan}, "out of range"),
        ({"kernel": (0, 3)}, "out of range"),
        ({"kernel": (2**31 - 1, 2**31 - 1)}, "out of range"),
        ({"sampling": (1, 0)}, "out of range"),
        ({"dilation": (-1, 1)}, "out of range"),
        ({"padding_end": (0, -1)}, "out of range"),
    ],
    ids=str,
)
def test_senseless_arguments_are_refused_in_words(emulation, changes, words):
    code = call_with(emulation, **changes)
    assert code < 0
    assert words in emulation.library.functions.nd_error_text(code).decode()


def test_sensible_arguments_are_not_refused(emulation):
    assert call_with(emulation) == 0


@pytest.mark.parametrize("block", [6, 8])
def test_a_byte_less_than_was_asked_for_is_refused(emulation, block):
    shape = Layer("", (1, block, 5, 5), {"kernel_size": 3}, 4).c_shape()
    sizes = {"in_channels": block, "block": block}
    needed = workspace_bytes(emulation, shape)
    assert call_with(emulation, workspace_bytes=needed, **sizes) == 0
    assert call_with(emulation, workspace_bytes=needed - 1, **sizes) < 0
