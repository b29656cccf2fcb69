"""PyTorch on one thread, where more only get in each other's way."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def single_threaded() -> Iterator[None]:
    """Run PyTorch on one thread inside the block.

    Its float64 convolution with groups is one small product a group, and handing each to several
    threads makes a depthwise layer 10 to 25 times slower.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
