"""The process's memory."""

from __future__ import annotations

import ctypes
import gc


def release_freed_memory(collect: bool = False) -> None:
    """Give memory that was freed back to the operating system, as far as it can be.

    glibc keeps what was freed from small and middle-sized blocks. Before another copy of the
    weights is made, it would count twice.

    Args:
        collect: run the garbage collector first, which frees graphs, since they are full of
            cycles; it takes a tenth of a second with PyTorch loaded.
    """
    if collect:
        gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
