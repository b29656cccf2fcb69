"""One thread, where more only get in each other's way.

On a machine that is busy with something else as well, a thread that waits for another one at the
end of every small product waits for the operating system: whitening matrices and depthwise layers
have been seen to take 10 to 50 times longer with two threads than with one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def single_threaded_torch() -> Iterator[None]:
    """Run PyTorch on one thread inside the block.

    Its float64 convolution with groups is one small product a group.
    """
    with torch_threads(1):
        yield


@contextlib.contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Run PyTorch's operators on so many threads inside the block."""
    import torch

    others = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(others)


@contextlib.contextmanager
def single_threaded_numpy() -> Iterator[None]:
    """Run the linear algebra of numpy on one thread inside the block."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1, user_api="blas"):
        yield
