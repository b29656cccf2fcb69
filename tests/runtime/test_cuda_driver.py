"""With a stand-in for NVIDIA's driver library, which writes where it is told to."""

import pytest

from nd_deploy.compat import cuda_driver
from nd_deploy.errors import BackendError


class FakeDriver:
    gpus = (("NVIDIA H200", (9, 0), 150_000_000_000), ("NVIDIA L4", (8, 9), 24_000_000_000))
    failing = None

    def __getattr__(self, name):
        def call(*arguments):
            if name == self.failing:
                return 999
            return getattr(self, f"_{name}")(*arguments) or 0

        return call

    def _cuInit(self, flags):  # noqa: N802
        assert flags == 0

    def _cuDriverGetVersion(self, number):  # noqa: N802
        number._obj.value = 13020

    def _cuDeviceGetCount(self, count):  # noqa: N802
        count._obj.value = len(self.gpus)

    def _cuDeviceGet(self, handle, index):  # noqa: N802
        handle._obj.value = index

    def _cuDeviceGetName(self, name, size, handle):  # noqa: N802
        name.value = self.gpus[handle.value][0].encode()[:size]

    def _cuDeviceGetAttribute(self, value, attribute, handle):  # noqa: N802
        l2_mib = {0: 60, 1: 48}[handle.value]
        major, minor = self.gpus[handle.value][1]
        value._obj.value = {38: l2_mib * 2**20, 75: major, 76: minor}[attribute]

    def _cuDeviceGetPCIBusId(self, text, size, handle):  # noqa: N802
        text.value = f"0000:{0x18 + handle.value:02x}:00.0".encode()[:size]

    def _cuDeviceTotalMem_v2(self, memory, handle):  # noqa: N802
        memory._obj.value = self.gpus[handle.value][2]

    def _cuGetErrorName(self, code, text):  # noqa: N802
        text._obj.value = b"CUDA_ERROR_UNKNOWN"


@pytest.fixture
def driver(monkeypatch):
    fake = FakeDriver()
    monkeypatch.setattr("ctypes.CDLL", lambda name: fake)
    return fake


@pytest.mark.usefixtures("driver")
def test_the_driver_tells_its_cuda_and_every_gpu():
    assert cuda_driver.version() == "13.2"
    assert cuda_driver.gpus() == (
        ("NVIDIA H200", "9.0", 150_000_000_000),
        ("NVIDIA L4", "8.9", 24_000_000_000),
    )
    assert cuda_driver.device(1).name == "NVIDIA L4"


@pytest.mark.usefixtures("driver")
def test_a_gpus_bus_and_cache_are_those_of_cudas_number():
    assert cuda_driver.pci_bus_id(1) == "0000:19:00.0"
    assert cuda_driver.l2_bytes(0) == 60 * 1024 * 1024
    assert cuda_driver.l2_bytes(1) == 48 * 1024 * 1024


@pytest.mark.usefixtures("driver")
def test_a_gpu_that_is_not_there_says_how_many_are():
    with pytest.raises(BackendError, match="no GPU 2: this process sees 2"):
        cuda_driver.device(2)


@pytest.mark.parametrize("function", ["cuInit", "cuDeviceGetCount", "cuDeviceGetName"])
def test_a_driver_that_fails_says_at_what_and_how(driver, function):
    driver.failing = function
    with pytest.raises(BackendError, match=f"{function}: CUDA_ERROR_UNKNOWN"):
        cuda_driver.gpus()


def test_no_driver_is_an_error_of_its_own(monkeypatch):
    def absent(name):
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr("ctypes.CDLL", absent)
    with pytest.raises(BackendError, match=r"driver is not here: libcuda\.so\.1"):
        cuda_driver.version()
