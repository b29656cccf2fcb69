"""The GPU that is there, or why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nd_deploy.compat import cuda
from nd_deploy.compat.cuda import Cuda
from nd_deploy.errors import BackendError, NdDeployError

# One line, such as "580.65.06"; a Jetson's driver is part of its system and has none.
_DRIVER = Path("/sys/module/nvidia/version")


@dataclass(frozen=True)
class Device:
    """A GPU.

    Attributes:
        index: CUDA's number for it.
        name: such as "NVIDIA H200".
        compute_capability: such as "9.0".
        total_memory: bytes.
        free_memory: bytes, when it was looked at.
        driver: the driver's version, where it tells.
        driver_cuda: the newest CUDA that the driver takes, such as "13.0", where known.
        runtime_cuda: the version of the CUDA runtime in use.
        package: what CUDA is called through, with its version.
    """

    index: int
    name: str
    compute_capability: str
    total_memory: int
    free_memory: int
    driver: str | None
    driver_cuda: str | None
    runtime_cuda: str | None
    package: str


@dataclass(frozen=True)
class NoDevice:
    """That there is no GPU to be used.

    Attributes:
        reason: why.
        remedy: what to do about it.
    """

    reason: str
    remedy: str


def find_device(index: int = 0, through: Cuda | None = None) -> Device | NoDevice:
    """Look at a GPU.

    Args:
        index: CUDA's number for it.
        through: how to call CUDA; None for whatever is there.

    Returns:
        The GPU, which is this thread's from now on, or why it cannot be used.
    """
    try:
        through = through or cuda.find()
        driver_cuda, runtime_cuda = through.versions()
        if driver_cuda == 0:
            return NoDevice(
                "there is no NVIDIA driver",
                "run on a machine with an NVIDIA GPU and its driver; in a container, start it with "
                "access to the GPU",
            )
        count = through.device_count()
        if not 0 <= index < count:
            return NoDevice(
                f"there is no GPU {index}: CUDA finds {count}",
                f"choose from 0 to {count - 1}" if count else "check CUDA_VISIBLE_DEVICES",
            )
        through.use_device(index)
        name, capability = through.describe(index)
        free, total = through.memory()
    except NdDeployError as error:
        return NoDevice(error.problem, error.remedy)
    return Device(
        index=index,
        name=name,
        compute_capability="{}.{}".format(*capability),
        total_memory=total,
        free_memory=free,
        driver=_driver(),
        driver_cuda=_version(driver_cuda),
        runtime_cuda=_version(runtime_cuda),
        package=through.name,
    )


def require_device(index: int = 0, through: Cuda | None = None) -> Device:
    """Look at a GPU that has to be there; see `find_device`.

    Raises:
        BackendError: it cannot be used.
    """
    found = find_device(index, through)
    if isinstance(found, NoDevice):
        raise BackendError(f"no GPU can be used: {found.reason}", found.remedy)
    return found


def _driver() -> str | None:
    try:
        return _DRIVER.read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def _version(number: int | None) -> str | None:
    return None if number is None else f"{number // 1000}.{number % 1000 // 10}"
