"""Call the kernels that take their statistics from the batch, and compute what they should."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from emulated import NdFastDeconvShape
from kernel_calls import TYPE_CODES, TYPES, Kernels, filled
from torch import Tensor

from nd_deploy.nd.layers import ChannelDeconv, FastDeconv

WORKSPACE_ALIGNMENT = 256
# Half of the distance between neighbouring numbers, relative, and half of the smallest number.
ROUNDING = {"float32": 0.0, "float16": 2.0**-11, "bfloat16": 2.0**-8}
SMALLEST = {"float32": 0.0, "float16": 2.0**-25, "bfloat16": 0.0}


@dataclass(frozen=True)
class Layer:
    """A FastDeconv, by the shape of its input and its constructor's arguments.

    `more_padding` is what the input is padded with besides: above, left, below and right of it.
    """

    name: str
    shape: tuple[int, ...]
    arguments: dict[str, Any] = field(default_factory=dict)
    outputs: int = 6
    more_padding: tuple[int, int, int, int] = (0, 0, 0, 0)

    def module(self, dtype: torch.dtype) -> FastDeconv:
        """The layer in training mode; a step replaces what its buffers hold."""
        torch.manual_seed(1)
        return FastDeconv(self.shape[1], self.outputs, momentum=1.0, **self.arguments).to(dtype)

    def c_shape(self) -> NdFastDeconvShape:
        """What launchers.h calls the layer."""
        layer = self.module(torch.float32)
        shape = NdFastDeconvShape(n_iter=layer.n_iter, eps=layer.eps)
        shape.batch, shape.in_channels, shape.height, shape.width = self.shape
        shape.out_channels, shape.groups, shape.block = self.outputs, layer.groups, layer.block
        shape.kernel[:], shape.dilation[:] = layer.kernel_size, layer.dilation
        for axis, zeros in enumerate(layer.padding):
            shape.padding_begin[axis] = zeros + self.more_padding[axis]
            shape.padding_end[axis] = zeros + self.more_padding[axis + 2]
        shape.sampling[:] = layer.sampling_stride
        return shape


def images(shape: tuple[int, ...], dtype: Any, seed: int = 0, offset: float = 0.7) -> np.ndarray:
    """Neighbouring pixels and channels that are alike, as those of photographs are."""
    x = np.random.default_rng(seed).normal(size=shape)
    for axis in range(1, len(shape)):
        x += 0.5 * np.roll(x, 1, axis)
    placed = filled(shape, dtype)
    placed[...] = (x + offset).astype(dtype)
    return placed


def tensor(array: np.ndarray, dtype: torch.dtype) -> Tensor:
    return torch.from_numpy(array.astype(np.float64)).to(dtype)


def expected_fold(layer: Layer, x: np.ndarray, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """W (D (x) I_S) and b - W' mean, computed by PyTorch in `dtype` from its own statistics."""
    module = layer.module(dtype)
    above, left, below, right = layer.more_padding
    with torch.no_grad():
        module(torch.nn.functional.pad(tensor(x, dtype), (left, right, above, below)))
    weight, deconv, features = module.weight.detach(), module.running_deconv, module.num_features
    mean = module.running_mean.reshape(module.groups, features)
    if module.groups == 1:
        rows = weight.reshape(layer.outputs, features, -1).mT @ deconv
        shift = (rows @ mean[0]).sum(1)
        folded = rows.mT
    else:
        folded = weight.reshape(module.groups, -1, features) @ deconv
        shift = (folded @ mean[:, :, None]).reshape(-1)
    assert module.bias is not None
    return folded.reshape(weight.shape), module.bias.detach() - shift


def fast_deconv(kernels: Kernels, layer: Layer, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """nd_fast_deconv_dynamic with the layer's weight and bias."""
    module = layer.module(torch.float32)
    assert module.bias is not None
    weight, bias = (placed(p.detach().numpy()) for p in (module.weight, module.bias))
    shape, code = layer.c_shape(), TYPE_CODES[x.dtype]
    functions = kernels.library.functions
    bytes_ = functions.nd_fast_deconv_dynamic_workspace(ctypes.byref(shape), code)
    assert bytes_ > 0
    outputs = [filled(weight.shape, x.dtype), filled(bias.shape, x.dtype)]
    arrays = [x, weight, bias, *outputs, workspace(bytes_)]
    there = [kernels.memory.upload(array) for array in arrays]
    *addresses, memory = [kernels.memory.address(t) for t in there]
    done = functions.nd_fast_deconv_dynamic(
        *addresses, code, ctypes.byref(shape), memory, bytes_, None
    )
    assert done == 0, functions.nd_error_text(done).decode()
    folded = [kernels.memory.download(t, like) for t, like in zip(there[3:5], outputs, strict=True)]
    return folded[0], folded[1]


def channel_deconv(kernels: Kernels, module: ChannelDeconv, x: np.ndarray) -> np.ndarray:
    """nd_channel_deconv_dynamic as the module would compute."""
    functions, code = kernels.library.functions, TYPE_CODES[x.dtype]
    sizes = [*x.shape, *[1] * (4 - x.ndim), module.block]
    bytes_ = functions.nd_channel_deconv_dynamic_workspace(*sizes, code)
    assert bytes_ > 0
    arrays = [x, filled(x.shape, x.dtype), workspace(bytes_)]
    there = [kernels.memory.upload(array) for array in arrays]
    source, target, memory = (kernels.memory.address(t) for t in there)
    options = [module.eps, module.n_iter, module.sampling_stride]
    done = functions.nd_channel_deconv_dynamic(
        source, target, code, *sizes, *options, memory, bytes_, None
    )
    assert done == 0, functions.nd_error_text(done).decode()
    return kernels.memory.download(there[1], arrays[1])


def placed(array: np.ndarray) -> np.ndarray:
    """A copy that ends where its allocation does."""
    copy = filled(array.shape, array.dtype)
    copy[...] = array
    return copy


def workspace(bytes_: int) -> np.ndarray:
    """NaN, aligned as the library asks for, that ends where its allocation does."""
    raw = np.full(bytes_ + WORKSPACE_ALIGNMENT, 0xFF, np.uint8)
    # numpy aligns large arrays less: what is skipped in front is left out behind.
    skipped = -raw.ctypes.data % WORKSPACE_ALIGNMENT
    return raw[skipped : skipped + bytes_]


def assert_rounded(
    values: np.ndarray, expected: Tensor, name: str, allowed: float = 2.0**-18
) -> None:
    """Whether values are the expected ones, rounded to the type called `name`.

    Args:
        values: of that type.
        expected: in float64.
        name: a key of TYPES.
        allowed: what is allowed besides, relative to the largest expected value.
    """
    assert values.dtype == TYPES[name]
    exact = expected.numpy()
    size = np.abs(exact).max()
    error = np.abs(values.astype(np.float64) - exact)
    assert (error <= ROUNDING[name] * np.abs(exact) + SMALLEST[name] + allowed * size).all()


def distance(values: Any, expected: Tensor) -> float:
    """The Frobenius norm of the difference, relative to the expected values'."""
    difference = torch.as_tensor(np.asarray(values, dtype=np.float64)) - expected
    return float(difference.norm() / expected.norm())
