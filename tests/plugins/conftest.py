"""Plugin libraries as fixtures: compiled for the CPU, and by nvcc for the GPU that is here."""

from __future__ import annotations

import emulated
import pytest
from device_memory import GpuMemory, HostMemory
from kernel_calls import Kernels, emulated_kernels, gpu_kernels
from plugin_cases import FIELDS
from plugin_sources import HARNESS, built_for_the_cpu, tensorrt_headers
from simulated_toolchain import bare_machine, empty_headers, simulated  # noqa: F401
from v3 import Host


@pytest.fixture(scope="session")
def emulation(tmp_path_factory) -> Kernels:
    """The kernels, built for the emulator."""
    return emulated_kernels(tmp_path_factory)


@pytest.fixture(scope="session")
def gpu(tmp_path_factory) -> Kernels:
    """The kernels, built for the GPU that is here."""
    return gpu_kernels(tmp_path_factory)


@pytest.fixture(params=["emulation", pytest.param("gpu", marks=pytest.mark.gpu)])
def kernels(request) -> Kernels:
    """The kernels, wherever they can run."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def harness(tmp_path_factory):
    return built_for_the_cpu(tmp_path_factory, HARNESS / "harness.cpp")


@pytest.fixture(scope="session")
def emulated_library(tmp_path_factory):
    """Hosts and kernels, as they are in the real library, for the CPU."""
    # Compiling takes longer than these tests, which are about the hosts: nothing is optimised.
    kernels = sorted(emulated.CSRC.glob("*.cu"))
    return built_for_the_cpu(tmp_path_factory, HARNESS / "all_hosts.cpp", *kernels, flags=["-O0"])


@pytest.fixture(scope="session")
def gpu_library(tmp_path_factory):
    """The real library, for the GPU that is here."""
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("needs an NVIDIA GPU that PyTorch can use")
    from nd_deploy.errors import MissingDependencyError
    from nd_deploy.plugins.build import BuildOptions, build_library

    major, minor = torch.cuda.get_device_capability()
    options = BuildOptions(headers=tensorrt_headers(), archs=(f"{major}{minor}",))
    try:
        return build_library(tmp_path_factory.mktemp("gpu"), options).path
    except MissingDependencyError as error:
        pytest.skip(error.problem)


@pytest.fixture(scope="session", params=["cpu", pytest.param("gpu", marks=pytest.mark.gpu)])
def place(request):
    """Where plugins compute."""
    return request.param


@pytest.fixture(scope="session")
def host(place, harness, request):
    """The library of a place, loaded."""
    return Host(
        harness, request.getfixturevalue(f"{'emulated' if place == 'cpu' else place}_library")
    )


@pytest.fixture(scope="session")
def memory(place):
    """The memory of a place."""
    return HostMemory() if place == "cpu" else GpuMemory()


@pytest.fixture
def plugin(host):
    """Makes a plugin with the fields of plugin_cases, some of them changed."""
    return lambda op, **changes: host.create(op, FIELDS[op] | changes)
