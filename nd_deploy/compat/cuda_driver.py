"""The GPUs as NVIDIA's driver tells of them, without any package for CUDA."""

from __future__ import annotations

import ctypes
from typing import NamedTuple

from nd_deploy.errors import BackendError

_LIBRARY = "libcuda.so.1"
_MAJOR, _MINOR = 75, 76  # of cuDeviceGetAttribute: the compute capability
_L2_BYTES = 38
_NAME_BYTES = 256
_BUS_ID_BYTES = 32
_REMEDY = "'nd-deploy doctor' shows the driver and the GPUs that are there"


class Gpu(NamedTuple):
    """A GPU.

    Attributes:
        name: as the driver calls it.
        compute_capability: such as "9.0".
        memory: in bytes.
    """

    name: str
    compute_capability: str
    memory: int


def version() -> str:
    """The newest CUDA that the driver takes, such as "13.0".

    Raises:
        BackendError: there is no driver, or it does not work.
    """
    number = ctypes.c_int()
    _call(_load(), "cuDriverGetVersion", ctypes.byref(number))
    return f"{number.value // 1000}.{number.value % 1000 // 10}"


def gpus() -> tuple[Gpu, ...]:
    """The GPUs that this process may use, in CUDA's order.

    Raises:
        BackendError: there is no driver, or it does not work.
    """
    driver = _started()
    count = ctypes.c_int()
    _call(driver, "cuDeviceGetCount", ctypes.byref(count))
    return tuple(_describe(driver, index) for index in range(count.value))


def device(index: int) -> Gpu:
    """One GPU.

    Args:
        index: in CUDA's order.

    Raises:
        BackendError: there is no such GPU, or no driver that works.
    """
    found = gpus()
    if index >= len(found):
        raise BackendError(f"there is no GPU {index}: this process sees {len(found)}", _REMEDY)
    return found[index]


def pci_bus_id(index: int) -> str:
    """Where a GPU is plugged in, such as "0000:65:00.0": the same for every library and process.

    Args:
        index: in CUDA's order.

    Raises:
        BackendError: there is no such GPU, or no driver that works.
    """
    driver = _started()
    text = ctypes.create_string_buffer(_BUS_ID_BYTES)
    _call(driver, "cuDeviceGetPCIBusId", text, _BUS_ID_BYTES, _handle(driver, index))
    return text.value.decode()


def l2_bytes(index: int) -> int:
    """The size of a GPU's second-level cache; see `pci_bus_id`."""
    driver = _started()
    return _attribute(driver, _L2_BYTES, _handle(driver, index))


def _describe(driver: ctypes.CDLL, index: int) -> Gpu:
    handle, name = _handle(driver, index), ctypes.create_string_buffer(_NAME_BYTES)
    _call(driver, "cuDeviceGetName", name, _NAME_BYTES, handle)
    capability = ".".join(str(_attribute(driver, part, handle)) for part in (_MAJOR, _MINOR))
    memory = ctypes.c_size_t()
    _call(driver, "cuDeviceTotalMem_v2", ctypes.byref(memory), handle)
    return Gpu(name.value.decode(), capability, memory.value)


def _handle(driver: ctypes.CDLL, index: int) -> ctypes.c_int:
    handle = ctypes.c_int()
    _call(driver, "cuDeviceGet", ctypes.byref(handle), index)
    return handle


def _attribute(driver: ctypes.CDLL, attribute: int, handle: ctypes.c_int) -> int:
    value = ctypes.c_int()
    _call(driver, "cuDeviceGetAttribute", ctypes.byref(value), attribute, handle)
    return value.value


def _started() -> ctypes.CDLL:
    driver = _load()
    _call(driver, "cuInit", 0)
    return driver


def _load() -> ctypes.CDLL:
    try:
        return ctypes.CDLL(_LIBRARY)
    except OSError as error:
        raise BackendError(f"NVIDIA's driver is not here: {error}", _REMEDY) from error


def _call(driver: ctypes.CDLL, function: str, *arguments: object) -> None:
    code = getattr(driver, function)(*arguments)
    if code:
        text = ctypes.c_char_p()
        driver.cuGetErrorName(code, ctypes.byref(text))
        name = text.value.decode() if text.value else f"error {code}"
        raise BackendError(f"NVIDIA's driver fails at {function}: {name}", _REMEDY)
