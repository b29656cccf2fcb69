"""A stand-in for the module pynvml of nvidia-ml-py, with the GPUs of a made-up machine."""

import os
from types import SimpleNamespace

H200 = {
    "Name": "NVIDIA H200",
    "CudaComputeCapability": (9, 0),
    "MemoryInfo": SimpleNamespace(total=150_754_820_096, free=1, used=2),
    "PersistenceMode": 1,
    "EnforcedPowerLimit": 700_000,
    "MaxClockInfo": {1: 1980, 2: 3201},
    "UtilizationRates": SimpleNamespace(gpu=3, memory=1),
    "ComputeRunningProcesses": [SimpleNamespace(pid=os.getpid()), SimpleNamespace(pid=1)],
    "ClockInfo": {1: 1755, 2: 3201},
    "TemperatureV": {0: 41},
    "PowerUsage": 123_456,
    "CurrentClocksEventReasons": 0x001,
}
NO_PCI = "none"
"""The bus of a GPU that is on none."""


class FakePynvml:
    """Answers what its GPUs know; a name that is missing there is not supported.

    Args:
        gpus: each one's answers by what is asked; per clock or sensor where they are a dict.
        lacks: functions that the module itself does not have.
        broken: why the library does not start.
    """

    class NVMLError(Exception):
        pass

    class NVMLLibraryMismatchError(Exception):
        pass

    def __init__(self, *gpus, lacks=(), broken=None):
        self.gpus = gpus
        self.lacks = lacks
        self.broken = broken
        self.started = 0

    def __getattr__(self, name):
        if name in self.lacks or not name.startswith("nvmlDeviceGet"):
            raise AttributeError(name)
        return lambda gpu, *arguments: self._answer(gpu, name[len("nvmlDeviceGet") :], *arguments)

    def nvmlInit(self):  # noqa: N802
        if self.broken:
            raise self.NVMLError(self.broken)
        self.started += 1

    def nvmlShutdown(self):  # noqa: N802
        self.started -= 1

    def nvmlSystemGetDriverVersion(self):  # noqa: N802
        return "580.65.06"

    def nvmlSystemGetCudaDriverVersion_v2(self):  # noqa: N802
        return 13020

    def nvmlDeviceGetCount(self):  # noqa: N802
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index):  # noqa: N802
        return self.gpus[index]

    def nvmlDeviceGetHandleByPciBusId(self, bus):  # noqa: N802
        for gpu in self.gpus:
            if gpu.get("bus", NO_PCI) == bus != NO_PCI:
                return gpu
        raise self.NVMLError("Not Found")

    def nvmlDeviceGetIndex(self, gpu):  # noqa: N802
        return [each is gpu for each in self.gpus].index(True)

    def _answer(self, gpu, what, *arguments):
        assert self.started == 1
        answer = gpu.get(what, self.NVMLError("Not Supported"))
        if isinstance(answer, dict):
            (which,) = arguments
            answer = answer[which]
        if isinstance(answer, Exception):
            raise answer
        return answer
