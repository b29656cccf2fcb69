"""How fast a processor multiplies matrices with numpy's BLAS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nd_deploy.profiling.subjects.base import Clock
from nd_deploy.profiling.work.timing import Rate, Timer, least_seconds, on_host

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SMALLEST, _LARGEST, _STEP = 512, 2048, 128
_SECONDS = 0.025
_TRIES = 3


def blas_rate(dtype: str, threads: int, clock: Clock) -> tuple[Rate, int]:
    """Measure the product of two square matrices.

    Args:
        dtype: float32 or float64.
        threads: of BLAS.
        clock: the host's.

    Returns:
        Floating point operations a second; and the size of the matrices: of the multiples of 128
        from 512 to 2048 that whose product takes about a fortieth of a second.
    """
    import numpy as np
    from threadpoolctl import threadpool_limits

    def product(size: int) -> Timer:
        a, b = (matrix(size, dtype, seed) for seed in range(2))
        out = np.empty_like(a)
        return on_host(lambda: np.matmul(a, b, out=out), clock)

    with threadpool_limits(limits=threads, user_api="blas"):
        size = _size_for(product(_SMALLEST)(_TRIES))
        seconds = least_seconds(product(size))
    return Rate(operations(size) / seconds, f"{words(size, dtype)}, by numpy's BLAS"), size


def matrix(size: int, dtype: str, seed: int = 0) -> NDArray[Any]:
    """A square matrix of numbers about 0, the same every time; their products stay small."""
    import numpy as np

    numbers = np.random.default_rng(seed).random((size, size), np.float32)
    scaled: NDArray[Any] = (numbers - 0.5) / np.float32(np.sqrt(size))
    return scaled.astype(dtype)


def operations(size: int) -> int:
    """Floating point operations of the product of two square matrices."""
    return 2 * size**3


def words(size: int, dtype: str) -> str:
    """The product, in words."""
    return f"product of two {size} x {size} matrices in {dtype}"


def _size_for(seconds: float) -> int:
    """The size to measure, by what the smallest takes."""
    wanted = int(_SMALLEST * (_SECONDS / seconds) ** (1 / 3)) // _STEP * _STEP
    return min(max(wanted, _SMALLEST), _LARGEST)
