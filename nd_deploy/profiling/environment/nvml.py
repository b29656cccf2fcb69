"""A GPU as NVIDIA's management library has it, through the package nvidia-ml-py.

CUDA numbers only the GPUs that CUDA_VISIBLE_DEVICES leaves, and in an order of its own, so that a
GPU is found here by the PCI bus it is on. For a part of a GPU (MIG) that is the whole one, which
alone has clocks and a temperature.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Callable
from types import ModuleType
from typing import Any

from nd_deploy.compat import cuda_driver
from nd_deploy.errors import NdDeployError
from nd_deploy.profiling.environment.record import Gpu
from nd_deploy.profiling.environment.state import NotSampled, State

# By bit, of nvml.h, without those that are no throttling: that the GPU is idle, as it is after a
# turn, and that somebody chose its clocks, for applications (2) or for a display (256).
_REASONS = {
    0x004: "sw_power_cap",
    0x008: "hw_slowdown",
    0x010: "sync_boost",
    0x020: "sw_thermal_slowdown",
    0x040: "hw_thermal_slowdown",
    0x080: "hw_power_brake_slowdown",
    0x200: "board_limit",
    0x400: "reliability",
}
_SM, _MEMORY = 1, 2  # nvmlClockType_t
_DIE = 0  # nvmlTemperatureSensors_t
_PERSISTENCE = {0: "off", 1: "on"}
_UNSAMPLED = "the GPU's clocks, temperature and power are not sampled"


def open_gpu(
    device: int, bus_id: Callable[[int], str] = cuda_driver.pci_bus_id
) -> NvmlGpu | NotSampled:
    """Find a GPU.

    Args:
        device: CUDA's number for it.
        bus_id: gives the PCI bus id of a GPU by CUDA's number; may raise NdDeployError.

    Returns:
        The GPU, to be closed, or why it cannot be asked.
    """
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError:
        return NotSampled(
            f"{_UNSAMPLED}: nvidia-ml-py is not installed", "pip install nvidia-ml-py"
        )
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return NotSampled(
            f"{_UNSAMPLED}: NVML does not start: {error}",
            "check that nvidia-smi works; in a container, start it with "
            "NVIDIA_DRIVER_CAPABILITIES=compute,utility",
        )
    handle = _handle(nvml, device, bus_id)
    if handle is None:
        with contextlib.suppress(nvml.NVMLError):
            nvml.nvmlShutdown()
        return NotSampled(
            f"{_UNSAMPLED}: NVML does not find CUDA's GPU {device}",
            "compare what nvidia-smi and 'nd-deploy doctor' list",
        )
    return NvmlGpu(nvml, handle)


class NvmlGpu:
    """A GPU, found. What the library does not tell of it, as often on a Jetson, is None.

    Args:
        nvml: the module pynvml, started.
        handle: its GPU.
    """

    def __init__(self, nvml: ModuleType, handle: object) -> None:
        self._nvml = nvml
        self._handle = handle
        # A newer package raises it where the driver lacks the newest version of a function.
        mismatch = getattr(nvml, "NVMLLibraryMismatchError", nvml.NVMLError)
        self._errors = (nvml.NVMLError, mismatch)

    def facts(self) -> Gpu | None:
        """What is to be known before a run; None if not even its name is.

        The library locks clocks, but has no way to ask whether they are.
        """
        name, memory, use = map(self._of, ("Name", "MemoryInfo", "UtilizationRates"))
        if name is None:
            return None
        return Gpu(
            name=name,
            index=self._of("Index"),
            compute_capability=_joined(self._of("CudaComputeCapability")),
            driver=self._asked("nvmlSystemGetDriverVersion"),
            cuda=_cuda_version(self._asked("nvmlSystemGetCudaDriverVersion_v2")),
            memory_bytes=None if memory is None else memory.total,
            persistence=_PERSISTENCE.get(self._of("PersistenceMode")),
            power_limit_w=_thousandth(self._of("EnforcedPowerLimit")),
            max_sm_mhz=self._of("MaxClockInfo", _SM),
            max_memory_mhz=self._of("MaxClockInfo", _MEMORY),
            utilisation=None if use is None else use.gpu,
            other_processes=self._others(),
        )

    def read(self) -> State:
        """The state now."""
        return State(
            sm_mhz=self._of("ClockInfo", _SM),
            memory_mhz=self._of("ClockInfo", _MEMORY),
            temperature_c=self._temperature(),
            power_w=_thousandth(self._of("PowerUsage")),
            throttle=self._throttle(),
        )

    def close(self) -> None:
        """Let go of the library."""
        with contextlib.suppress(self._nvml.NVMLError):
            self._nvml.nvmlShutdown()

    def _throttle(self) -> tuple[str, ...]:
        bits = self._of("CurrentClocksEventReasons")
        if bits is None:  # its name before driver 535
            bits = self._of("CurrentClocksThrottleReasons")
        return tuple(reason for bit, reason in _REASONS.items() if (bits or 0) & bit)

    def _temperature(self) -> float | None:
        found: float | None = self._of("TemperatureV", _DIE)
        if found is None:  # its older name, which goes with CUDA 14
            found = self._of("Temperature", _DIE)
        return found

    def _others(self) -> int | None:
        processes = self._of("ComputeRunningProcesses")
        if processes is None:
            return None
        return sum(1 for process in processes if process.pid != os.getpid())

    def _of(self, what: str, *arguments: object) -> Any:  # noqa: ANN401 - as the module has it
        return self._asked(f"nvmlDeviceGet{what}", self._handle, *arguments)

    def _asked(self, function: str, *arguments: object) -> Any:  # noqa: ANN401
        """The answer to one question, or None: each may be unknown to a driver or a GPU."""
        call = getattr(self._nvml, function, None)
        if call is None:
            return None
        try:
            return call(*arguments)
        except self._errors:
            return None


def _handle(nvml: ModuleType, device: int, bus_id: Callable[[int], str]) -> Any:  # noqa: ANN401
    with contextlib.suppress(nvml.NVMLError, NdDeployError):
        return nvml.nvmlDeviceGetHandleByPciBusId(bus_id(device))
    # A Jetson's GPU is on no such bus; but where there is one GPU, it is that one.
    with contextlib.suppress(nvml.NVMLError):
        if nvml.nvmlDeviceGetCount() == 1:
            return nvml.nvmlDeviceGetHandleByIndex(0)
    return None


def _joined(capability: tuple[int, int] | None) -> str | None:
    return None if capability is None else "{}.{}".format(*capability)


def _cuda_version(number: int | None) -> str | None:
    return None if number is None else f"{number // 1000}.{number % 1000 // 10}"


def _thousandth(milliwatts: int | None) -> float | None:
    return None if milliwatts is None else milliwatts / 1000
