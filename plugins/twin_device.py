"""Memory and streams that TensorRT owns, as PyTorch sees them."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from nd_deploy import compat
from nd_deploy.errors import BackendError, MissingDependencyError

if TYPE_CHECKING:
    from torch import Tensor

_REMEDY = (
    "install a build of PyTorch with CUDA (https://pytorch.org), or build the C++ plugin, which "
    "needs no PyTorch: nd-deploy plugin build"
)
# The array interface knows no bfloat16, so its bits are handed over as another type of 16 bits.
_TYPESTRS = {"float32": "<f4", "float16": "<f2", "bfloat16": "<i2"}


class _Memory:
    """Device memory that is someone else's, by the protocol that PyTorch reads."""

    def __init__(self, pointer: int, shape: Sequence[int], typestr: str) -> None:
        self.__cuda_array_interface__ = {
            "shape": tuple(shape),
            "typestr": typestr,
            "data": (pointer, False),
            "version": 3,
        }


def tensor_at(pointer: int, shape: Sequence[int], dtype: str) -> Tensor:
    """Wrap dense device memory, without a copy.

    Args:
        pointer: its address on the current device.
        shape: of the tensor.
        dtype: "float32", "float16" or "bfloat16".

    Returns:
        A tensor that shares the memory, and does not keep it.
    """
    torch = compat.torch()
    kind = getattr(torch, dtype)
    if not math.prod(shape):  # an empty tensor may have no address
        return torch.empty(tuple(shape), dtype=kind, device="cuda")  # type: ignore[no-any-return]
    wrapped = torch.as_tensor(_Memory(pointer, shape, _TYPESTRS[dtype]), device="cuda")
    return wrapped.view(kind)  # type: ignore[no-any-return]


@contextlib.contextmanager
def on_stream(pointer: int) -> Iterator[None]:
    """Let PyTorch compute on a stream, without gradients and in float32 as it is written.

    Args:
        pointer: a cudaStream_t; 0 is the default stream.

    Raises:
        MissingDependencyError: PyTorch is absent or has no CUDA.
        BackendError: the stream is recorded into a CUDA graph, in which PyTorch cannot allocate.
    """
    torch = compat.torch()
    if not torch.cuda.is_available():
        raise MissingDependencyError(
            f"the Python plugins compute with PyTorch on the GPU, and PyTorch {torch.__version__} "
            "finds no CUDA",
            _REMEDY,
        )
    stream = torch.cuda.ExternalStream(pointer) if pointer else torch.cuda.default_stream()
    with torch.cuda.stream(stream), torch.no_grad(), _exact_products(torch):
        if torch.cuda.is_current_stream_capturing():
            raise BackendError(
                "a Python plugin cannot be recorded into a CUDA graph",
                "run without CUDA graphs, or build the C++ plugin: nd-deploy plugin build",
            )
        yield


@contextlib.contextmanager
def _exact_products(torch: Any) -> Iterator[None]:  # noqa: ANN401 - the module
    """Keep TF32 out of matrix products, whatever the host application has set."""
    settings = torch.backends.cuda.matmul
    name, exact = ("fp32_precision", "ieee") if hasattr(settings, "fp32_precision") else ("", "")
    if not name:
        name, exact = "allow_tf32", False  # type: ignore[assignment]
    before = getattr(settings, name)
    setattr(settings, name, exact)
    try:
        yield
    finally:
        setattr(settings, name, before)
