"""With a stand-in for nvidia-ml-py; and on a real GPU, where there is one."""

import sys

import pytest
from fake_pynvml import H200, NO_PCI, FakePynvml

from nd_deploy.compat import cuda_driver
from nd_deploy.errors import BackendError
from nd_deploy.profiling.environment.nvml import NvmlGpu, open_gpu
from nd_deploy.profiling.environment.record import Gpu
from nd_deploy.profiling.environment.state import NotSampled, State


@pytest.fixture
def installed(monkeypatch):
    """Install a stand-in with the given GPUs."""

    def install(*gpus, **how):
        fake = FakePynvml(*gpus, **how)
        monkeypatch.setitem(sys.modules, "pynvml", fake)
        return fake

    return install


def on_bus(bus):
    return lambda device: bus


def no_driver(device):
    raise BackendError("NVIDIA's driver is not here", "install it")


def opened(fake):
    gpu = open_gpu(0, no_driver)
    assert isinstance(gpu, NvmlGpu)
    assert fake.started == 1
    return gpu


def test_a_gpu_tells_everything_that_is_to_be_known_before_a_run(installed):
    assert opened(installed(H200)).facts() == Gpu(
        name="NVIDIA H200",
        index=0,
        compute_capability="9.0",
        driver="580.65.06",
        cuda="13.2",
        memory_bytes=150_754_820_096,
        persistence="on",
        power_limit_w=700.0,
        max_sm_mhz=1980,
        max_memory_mhz=3201,
        utilisation=3,
        other_processes=1,
    )


def test_whether_clocks_are_locked_stays_unknown_since_nvml_does_not_tell(installed):
    assert opened(installed(H200)).facts().locked_clocks is None


def test_a_sample_is_in_mhz_watts_and_degrees(installed):
    assert opened(installed(H200)).read() == State(
        sm_mhz=1755, memory_mhz=3201, temperature_c=41, power_w=123.456
    )


def test_reasons_for_throttling_are_words(installed):
    gpu = opened(installed(H200 | {"CurrentClocksEventReasons": 0x004 | 0x020 | 0x080}))
    assert gpu.read().throttle == ("sw_power_cap", "sw_thermal_slowdown", "hw_power_brake_slowdown")


@pytest.mark.parametrize("bit", [0x001, 0x002, 0x100], ids=["idle", "applications", "display"])
def test_idleness_and_clocks_that_somebody_chose_are_no_throttling(installed, bit):
    gpu = opened(installed(H200 | {"CurrentClocksEventReasons": bit}))
    assert gpu.read().throttle == ()


@pytest.mark.parametrize("how", ["the package lacks the new names", "the driver lacks them"])
def test_functions_are_asked_by_their_old_names_where_the_new_ones_are_not(installed, how):
    new = ("CurrentClocksEventReasons", "TemperatureV")
    old = H200 | {"CurrentClocksThrottleReasons": 0x040, "Temperature": {0: 66}}
    for name in new:
        del old[name]
    lacks = [f"nvmlDeviceGet{name}" for name in new] if "package" in how else ()
    state = opened(installed(old, lacks=lacks)).read()
    assert state.throttle == ("hw_thermal_slowdown",)
    assert state.temperature_c == 66


def test_a_jetsons_gpu_that_supports_nothing_but_its_name_stops_nothing(installed):
    gpu = opened(installed({"Name": "Orin (nvgpu)"}))
    assert gpu.facts() == Gpu("Orin (nvgpu)", index=0, driver="580.65.06", cuda="13.2")
    assert gpu.read() == State()


def test_a_gpu_that_is_lost_during_a_run_is_unknown_and_raises_nothing(installed):
    fake = installed(dict(H200))
    gpu = opened(fake)
    fake.gpus[0].clear()
    assert gpu.read() == State()
    assert gpu.facts() is None


def test_a_library_of_another_version_is_one_answer_less(installed):
    error = FakePynvml.NVMLLibraryMismatchError("Unversioned function called")
    facts = opened(installed(H200 | {"ComputeRunningProcesses": error})).facts()
    assert facts.other_processes is None
    assert facts.utilisation == 3


def test_a_gpu_is_found_by_its_bus_and_not_by_cudas_number(installed):
    other, wanted = H200 | {"bus": "0000:18:00.0"}, H200 | {"bus": "0000:2a:00.0", "Name": "L4"}
    installed(other, wanted)
    facts = open_gpu(0, on_bus("0000:2a:00.0")).facts()
    assert (facts.name, facts.index) == ("L4", 1)


def test_the_only_gpu_needs_no_bus(installed):
    installed(H200)
    assert isinstance(open_gpu(0, on_bus(NO_PCI)), NvmlGpu)


@pytest.mark.parametrize("bus", [on_bus("0000:ff:00.0"), no_driver])
def test_one_of_several_gpus_is_not_guessed(installed, bus):
    fake = installed(H200, H200)
    found = open_gpu(1, bus)
    assert isinstance(found, NotSampled)
    assert "does not find CUDA's GPU 1" in found.problem
    assert fake.started == 0


def test_a_package_that_is_absent_is_told_with_what_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    found = open_gpu(0, no_driver)
    assert found == NotSampled(
        "the GPU's clocks, temperature and power are not sampled: nvidia-ml-py is not installed",
        "pip install nvidia-ml-py",
    )


def test_a_library_that_does_not_start_is_told_with_its_own_words(installed):
    installed(broken="NVML Shared Library Not Found")
    found = open_gpu(0, no_driver)
    assert "NVML does not start: NVML Shared Library Not Found" in found.problem
    assert "nvidia-smi" in found.remedy


def test_closing_lets_go_of_the_library(installed):
    fake = installed(H200)
    opened(fake).close()
    assert fake.started == 0


@pytest.mark.gpu
def test_a_real_gpu_is_the_one_that_cuda_numbers():
    pytest.importorskip("pynvml", reason="needs nvidia-ml-py")
    try:
        expected = cuda_driver.device(0)
    except BackendError as error:
        pytest.skip(f"needs an NVIDIA GPU: {error.problem}")
    gpu = open_gpu(0)
    facts, state = gpu.facts(), gpu.read()
    gpu.close()
    assert facts.name == expected.name
    assert facts.compute_capability == expected.compute_capability
    assert 0 < state.sm_mhz <= facts.max_sm_mhz
    assert state.power_w > 0
