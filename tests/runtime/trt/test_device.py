import pytest
from fake_cuda import FakeCuda

from nd_deploy.compat import cuda as cuda_compat
from nd_deploy.errors import BackendError, MissingDependencyError
from nd_deploy.runtime.tensorrt.device import Device, NoDevice, find_device, require_device


def test_a_gpu_is_described():
    cuda = FakeCuda(total=1000, count=2)
    cuda.allocate(300, "something else")
    found = find_device(1, cuda)
    assert isinstance(found, Device)
    assert (found.index, found.name, found.compute_capability) == (1, "NVIDIA H200", "9.0")
    assert (found.total_memory, found.free_memory) == (1000, 700)
    assert (found.driver_cuda, found.runtime_cuda, found.package) == ("13.0", "13.0", "fake 1.0")
    assert cuda.log == ["use 1"]


@pytest.mark.parametrize(
    ("changes", "index", "reason"),
    [
        ({"driver": 0}, 0, "no NVIDIA driver"),
        ({"count": 0}, 0, "there is no GPU 0: CUDA finds 0"),
        ({}, 1, "there is no GPU 1: CUDA finds 1"),
        ({}, -1, "there is no GPU -1"),
        ({"fails": {"device_count"}}, 0, "cudaErrorLaunchFailure"),
    ],
)
def test_no_gpu_is_a_value_with_a_reason(changes, index, reason):
    cuda = FakeCuda()
    for name, value in changes.items():
        setattr(cuda, name, value)
    found = find_device(index, cuda)
    assert isinstance(found, NoDevice)
    assert reason in found.reason
    assert found.remedy
    with pytest.raises(BackendError, match=r"no GPU can be used: .*"):
        require_device(index, cuda)


def test_no_package_for_cuda_is_no_crash_either(monkeypatch):
    def find():
        raise MissingDependencyError("no package", "install one")

    monkeypatch.setattr(cuda_compat, "find", find)
    assert find_device() == NoDevice("no package", "install one")


def test_this_machine_is_looked_at_without_a_crash():
    found = find_device()
    assert isinstance(found, Device | NoDevice)
    if isinstance(found, NoDevice):
        assert found.reason
        assert found.remedy
