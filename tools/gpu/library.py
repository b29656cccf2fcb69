"""The plugin library's C functions on PyTorch tensors, without TensorRT.

Tensors may be on a GPU, or on the CPU for a library whose kernels are built for it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from gpu.rooflines import ConvShape

if TYPE_CHECKING:
    from torch import Tensor

_POINTER, _LONG, _INT, _FLOAT, _SIZE = (
    ctypes.c_void_p,
    ctypes.c_int64,
    ctypes.c_int,
    ctypes.c_float,
    ctypes.c_size_t,
)
_TYPES = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2}


class _Shape(ctypes.Structure):
    """NdFastDeconvShape of plugins/csrc/launchers.h."""

    _fields_ = [
        *((name, _LONG) for name in ("batch", "in_channels", "out_channels", "groups")),
        *((name, _LONG) for name in ("block", "height", "width")),
        *(
            (name, ctypes.c_int32 * 2)
            for name in ("kernel", "padding_begin", "padding_end", "dilation", "sampling")
        ),
        ("n_iter", ctypes.c_int32),
        ("eps", _FLOAT),
    ]


class LibraryError(Exception):
    """A function of the library refused its arguments, or a launch failed."""


class Library:
    """A plugin library.

    Args:
        paths: the .so file; several if its sources are built apart from each other.
    """

    def __init__(self, *paths: Path | str) -> None:
        loaded = [ctypes.CDLL(str(path)) for path in paths]
        shape = ctypes.POINTER(_Shape)
        signatures = {
            "nd_channel_deconv": (_INT, [*[_POINTER] * 6, _INT, *[_LONG] * 4, _INT, _POINTER]),
            "nd_fast_deconv_dynamic_workspace": (_SIZE, [shape, _INT]),
            "nd_fast_deconv_dynamic": (
                _INT,
                [*[_POINTER] * 5, _INT, shape, _POINTER, _SIZE, _POINTER],
            ),
            "nd_channel_deconv_dynamic_workspace": (_SIZE, [*[_LONG] * 5, _INT]),
            "nd_channel_deconv_dynamic": (
                _INT,
                [
                    *[_POINTER] * 2,
                    _INT,
                    *[_LONG] * 5,
                    _FLOAT,
                    _INT,
                    _INT,
                    _POINTER,
                    _SIZE,
                    _POINTER,
                ],
            ),
            "nd_error_text": (ctypes.c_char_p, [_INT]),
        }
        self._functions = {}
        for name, (result, arguments) in signatures.items():
            function = next((getattr(part, name) for part in loaded if hasattr(part, name)), None)
            if function is None:
                raise LibraryError(f"{', '.join(map(str, paths))} has no function {name}")
            function.restype, function.argtypes = result, arguments
            self._functions[name] = function

    def channel_deconv(
        self, x: Tensor, parameters: Sequence[Tensor], y: Tensor, relu: bool = False
    ) -> None:
        """Whiten x, (N, C, ...), into y.

        Args:
            x: contiguous.
            parameters: mean, D, and with channels left over their mean and scale; float32.
            y: as x.
            relu: whether negative results become zero.
        """
        mean, deconv, *leftover = parameters
        positions = x[0, 0].numel() if x.numel() else 1
        self._call(
            "nd_channel_deconv",
            x.data_ptr(),
            mean.data_ptr(),
            deconv.data_ptr(),
            *(_addresses(leftover) or (None, None)),
            y.data_ptr(),
            _TYPES[x.dtype],
            *x.shape[:2],
            positions,
            len(mean),
            int(relu),
            _stream(x),
        )

    def fast_deconv_workspace(self, shape: ConvShape, eps: float, dtype: torch.dtype) -> int:
        """Bytes that `fast_deconv_dynamic` needs."""
        filled = _filled(shape, eps)
        function = self._functions["nd_fast_deconv_dynamic_workspace"]
        return int(function(ctypes.byref(filled), _TYPES[dtype]))

    def fast_deconv_dynamic(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        folded: tuple[Tensor, Tensor],
        shape: ConvShape,
        eps: float,
        workspace: Tensor,
    ) -> None:
        """Fold the whitening of x's own patches into weight and bias.

        Args:
            x: (N, C, H, W), contiguous.
            weight: of the convolution, float32.
            bias: of the convolution, float32.
            folded: weight and bias to write, of x's type.
            shape: what the layer is, on x.
            eps: added to the diagonal of the covariance.
            workspace: bytes, as many as `fast_deconv_workspace` says.
        """
        filled = _filled(shape, eps)
        self._call(
            "nd_fast_deconv_dynamic",
            *(tensor.data_ptr() for tensor in (x, weight, bias, *folded)),
            _TYPES[x.dtype],
            ctypes.byref(filled),
            workspace.data_ptr(),
            workspace.numel(),
            _stream(x),
        )

    def channel_deconv_workspace(self, x: Tensor, block: int) -> int:
        """Bytes that `channel_deconv_dynamic` needs."""
        function = self._functions["nd_channel_deconv_dynamic_workspace"]
        return int(function(*_maps(x), block, _TYPES[x.dtype]))

    def channel_deconv_dynamic(
        self,
        x: Tensor,
        y: Tensor,
        block: int,
        eps: float,
        n_iter: int,
        sampling_stride: int,
        workspace: Tensor,
    ) -> None:
        """Whiten x, (N, C, H, W) or (N, C), with its own statistics into y.

        Args:
            x: contiguous.
            y: as x.
            block: features a block.
            eps: added to the diagonal of the second moment and to the variance.
            n_iter: Newton-Schulz steps.
            sampling_stride: of the layer.
            workspace: bytes, as many as `channel_deconv_workspace` says.
        """
        self._call(
            "nd_channel_deconv_dynamic",
            x.data_ptr(),
            y.data_ptr(),
            _TYPES[x.dtype],
            *_maps(x),
            block,
            eps,
            n_iter,
            sampling_stride,
            workspace.data_ptr(),
            workspace.numel(),
            _stream(x),
        )

    def _call(self, name: str, *arguments: object) -> None:
        code = self._functions[name](*arguments)
        if code:
            text = self._functions["nd_error_text"](code).decode()
            raise LibraryError(f"{name} returns {code}: {text}")


def _addresses(tensors: Sequence[Tensor]) -> tuple[int, ...]:
    return tuple(tensor.data_ptr() for tensor in tensors)


def _maps(x: Tensor) -> tuple[int, ...]:
    return tuple(x.shape) if x.dim() == 4 else (*x.shape, 1, 1)


def _filled(shape: ConvShape, eps: float) -> _Shape:
    pair = ctypes.c_int32 * 2
    return _Shape(
        shape.batch,
        shape.in_channels,
        shape.out_channels,
        shape.groups,
        shape.block,
        shape.height,
        shape.width,
        pair(*shape.kernel),
        pair(*shape.padding),
        pair(*shape.padding),
        pair(*shape.dilation),
        pair(*shape.sampling),
        shape.n_iter,
        eps,
    )


def _stream(x: Tensor) -> int | None:
    return torch.cuda.current_stream().cuda_stream if x.is_cuda else None
