"""How fast a machine copies memory; what is read and what is written both count."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from nd_deploy.bundle.files import readable_size
from nd_deploy.compat.cuda import Cuda
from nd_deploy.profiling.subjects.base import Clock
from nd_deploy.profiling.work.timing import Rate, least_seconds, on_host

_CPUS = Path("/sys/devices/system/cpu")
_MIB = 2**20
# What a machine is taken to have that does not tell.
_USUAL_CACHE = 32 * _MIB
# The source alone is so many times as large as the last cache, and so is the target.
_CACHES = 4
_SMALLEST, _LARGEST = 64 * _MIB, 512 * _MIB
_DEPTH = 2


def host_copy_rate(threads: int, clock: Clock, cache: int | None = None) -> Rate:
    """Copy an array that is far larger than the last cache.

    Args:
        threads: that copy a part of it each.
        clock: the host's.
        cache: bytes of the last cache; None to look.

    Returns:
        Bytes read and written a second.
    """
    import numpy as np

    size = _size(last_cache() if cache is None else cache) // threads * threads
    source, target = (np.empty((threads, size // threads), np.uint8) for _ in range(2))
    with ThreadPoolExecutor(threads) as pool:
        # Memory lies where it is first written to: near the thread that copies it.
        list(pool.map(lambda part: part.fill(1), source))
        seconds = least_seconds(on_host(lambda: list(pool.map(np.copyto, target, source)), clock))
    return Rate(2 * size / seconds, f"copy of {readable_size(size)}, on {_counted(threads)}")


def device_copy_rate(cuda: Cuda, device: int, clock: Clock) -> Rate:
    """Copy memory of a GPU, far more than its L2 cache holds.

    Args:
        cuda: how to call CUDA.
        device: CUDA's number of the GPU.
        clock: the host's.

    Returns:
        Bytes read and written a second, by the GPU's clock.

    Raises:
        BackendError: CUDA failed, or the GPU has too little memory.
    """
    from nd_deploy.profiling.subjects.device_queue import time_in_queue
    from nd_deploy.runtime.tensorrt.running.buffers import DeviceBuffer, Stream

    cuda.use_device(device)
    size = _size(cuda.l2_bytes(device))
    purpose = "measuring how fast it copies"
    with (
        Stream(cuda) as stream,
        DeviceBuffer(cuda, size, purpose) as source,
        DeviceBuffer(cuda, size, purpose) as target,
    ):

        def copy() -> None:
            cuda.copy_on_device(target.address, source.address, size, stream.handle)

        def timer(times: int) -> float:
            on_device, _ = time_in_queue(
                copy, times, cuda=cuda, stream=stream.handle, clock=clock, depth=_DEPTH
            )
            return float(on_device.min())

        seconds = least_seconds(timer)
    return Rate(2 * size / seconds, f"copy of {readable_size(size)} on the GPU")


def last_cache(cpus: Path = _CPUS) -> int:
    """The bytes of the caches of the last level, all of them together.

    Args:
        cpus: where Linux describes the processors.
    """
    found: dict[tuple[int, str], int] = {}
    for cache in cpus.glob("cpu[0-9]*/cache/index[0-9]*"):
        level, size, shared = (_read(cache / name) for name in ("level", "size", "shared_cpu_list"))
        if level.isdigit() and size[:-1].isdigit() and size.endswith("K"):
            found[int(level), shared] = int(size[:-1]) * 1024
    last = max((level for level, _ in found), default=0)
    return sum(size for (level, _), size in found.items() if level == last) or _USUAL_CACHE


def _read(path: Path) -> str:
    """A line of the system's, or nothing where a container or a board hides it."""
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _size(cache: int) -> int:
    return min(max(_CACHES * cache, _SMALLEST), _LARGEST)


def _counted(threads: int) -> str:
    return f"{threads} thread{'' if threads == 1 else 's'}"
