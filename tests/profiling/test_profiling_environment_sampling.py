"""Samples of made-up devices by a made-up clock, and all of a machine looked at at once."""

import json
import platform
import sys
from dataclasses import asdict, replace
from importlib.metadata import version
from itertools import count

import pytest
from fake_pynvml import H200, FakePynvml
from machine_trees import ORIN_NX, XEON, plant

import nd_deploy
from nd_deploy.compat import cuda_driver
from nd_deploy.errors import BackendError
from nd_deploy.profiling.environment import look, sampling
from nd_deploy.profiling.environment.look import look_around
from nd_deploy.profiling.environment.record import Cpu, Environment, Gpu, Sample
from nd_deploy.profiling.environment.sampling import Sampler, start_sampling
from nd_deploy.profiling.environment.state import NotSampled, State, filled

NO_RAILS = {name: text for name, text in ORIN_NX.items() if "hwmon" not in name}


class Source:
    closed = False

    def __init__(self, *states):
        self.states = list(states)

    def read(self):
        return self.states.pop(0)

    def close(self):
        self.closed = True


@pytest.fixture
def no_driver(monkeypatch):
    def absent(*_):
        raise BackendError("NVIDIA's driver is not here", "install it")

    monkeypatch.setattr(cuda_driver, "device", absent)


@pytest.fixture
def h200(monkeypatch):
    fake = FakePynvml(H200)
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    return fake


@pytest.fixture
def no_nvml(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)


@pytest.fixture
def driver(monkeypatch):
    monkeypatch.setattr(
        cuda_driver, "device", lambda i: cuda_driver.Gpu("Orin", "8.7", 8_000_000_000)
    )
    monkeypatch.setattr(cuda_driver, "version", lambda: "12.6")
    monkeypatch.setattr(cuda_driver, "l2_bytes", lambda i: 4_194_304)


@pytest.fixture
def tegrastats(monkeypatch):
    source = Source(State(rails={"VDD_IN": 9.0}, power_w=9.0, sm_mhz=1.0))
    monkeypatch.setattr(sampling, "start_tegrastats", lambda: source)
    return source


def test_samples_carry_the_row_and_the_seconds_since_the_beginning():
    clock = iter([5_000_000_000, 5_250_000_000, 7_000_000_000]).__next__
    sampler = Sampler([Source(State(sm_mhz=1500), State(sm_mhz=1400))], clock)
    sampler("a")
    sampler("b")
    assert sampler.samples == (
        Sample(0.25, "a", sm_mhz=1500),
        Sample(2.0, "b", sm_mhz=1400),
    )


def test_the_first_source_counts_and_the_next_ones_fill_its_gaps():
    first = Source(State(sm_mhz=1500, throttle=("sw_power_cap",)))
    second = Source(State(sm_mhz=9, throttle=("board_limit",), rails={"VDD_IN": 7.0}, cpu_mhz=800))
    sampler = Sampler([first, second], count().__next__)
    sampler("a")
    (sample,) = sampler.samples
    assert (sample.sm_mhz, sample.throttle) == (1500, ("sw_power_cap",))
    assert (sample.rails, sample.cpu_mhz) == ({"VDD_IN": 7.0}, 800)


def test_zero_is_an_answer_and_no_gap():
    assert filled(State(power_w=0.0), State(power_w=5.0)).power_w == 0


def test_where_nothing_tells_of_the_device_there_are_no_samples():
    sampler = Sampler([Source(State(), State())], count().__next__)
    sampler("a row")
    assert sampler.samples == ()


def test_closing_closes_every_source():
    sources = [Source(), Source()]
    Sampler(sources).close()
    assert all(source.closed for source in sources)


def test_a_server_without_a_gpu_samples_the_processors_clock(tmp_path):
    sampler = start_sampling(None, plant(tmp_path, XEON), count().__next__)
    sampler("a")
    sampler.close()
    assert sampler.problems == ()
    assert sampler.samples == (Sample(1e-9, "a", cpu_mhz=2550),)


def test_a_gpu_is_sampled_through_nvml(tmp_path, h200):
    sampler = start_sampling(0, plant(tmp_path, XEON))
    sampler("a")
    sampler.close()
    (sample,) = sampler.samples
    assert (sample.sm_mhz, sample.power_w, sample.cpu_mhz) == (1755, 123.456, 2550)
    assert sampler.problems == ()
    assert h200.started == 0


@pytest.mark.usefixtures("no_nvml")
def test_a_gpu_that_is_not_sampled_is_a_problem_and_stops_nothing(tmp_path):
    sampler = start_sampling(0, plant(tmp_path, XEON))
    sampler("a")
    (problem,) = sampler.problems
    assert problem.remedy == "pip install nvidia-ml-py"
    assert sampler.samples[0].sm_mhz is None
    assert sampler.samples[0].cpu_mhz == 2550


@pytest.mark.usefixtures("no_nvml", "tegrastats")
def test_a_jetson_needs_no_nvml_and_with_rails_no_tegrastats(tmp_path, tegrastats):
    sampler = start_sampling(0, plant(tmp_path, ORIN_NX))
    sampler("a")
    sampler.close()
    (sample,) = sampler.samples
    assert sampler.problems == ()
    assert (sample.sm_mhz, sample.temperature_c, sample.cpu_mhz) == (612, 49.625, 1984)
    assert sample.power_w == pytest.approx(9.984)
    assert not tegrastats.closed


@pytest.mark.usefixtures("no_nvml")
def test_tegrastats_tells_the_rails_where_the_kernel_does_not(tmp_path, tegrastats):
    sampler = start_sampling(0, plant(tmp_path, NO_RAILS))
    sampler("a")
    sampler.close()
    (sample,) = sampler.samples
    assert (sample.rails, sample.power_w) == ({"VDD_IN": 9.0}, 9.0)
    assert sample.sm_mhz == 612
    assert tegrastats.closed


@pytest.mark.usefixtures("no_nvml")
def test_rails_that_nothing_tells_are_a_problem(tmp_path, monkeypatch):
    problem = NotSampled("tegrastats does not start", "mount it")
    monkeypatch.setattr(sampling, "start_tegrastats", lambda: problem)
    assert start_sampling(None, plant(tmp_path, NO_RAILS)).problems == (problem,)


@pytest.mark.usefixtures("no_nvml", "tegrastats")
def test_a_jetson_whose_kernel_tells_no_clock_of_the_gpu_lacks_nvml(tmp_path):
    plant(tmp_path, {name: text for name, text in ORIN_NX.items() if "devfreq" not in name})
    (problem,) = start_sampling(0, tmp_path).problems
    assert "nvidia-ml-py" in problem.problem


def test_looking_around_finds_machine_system_and_packages(tmp_path):
    found = look_around(("numpy", "no-such-package-as-this"), root=plant(tmp_path, XEON))
    assert found.machine == platform.machine()
    assert found.python == platform.python_version()
    assert "Linux" in found.system
    assert found.versions == {"nd-deploy": nd_deploy.__version__, "numpy": version("numpy")}
    assert found.cpu.model.startswith("Intel(R) Xeon(R) Gold 6248")
    assert (found.gpu, found.jetson, found.samples) == (None, None, ())


@pytest.mark.usefixtures("h200", "driver")
def test_what_nvml_does_not_tell_of_a_gpu_the_driver_tells(tmp_path):
    gpu = look_around(device=0, root=tmp_path).gpu
    assert gpu.name == "NVIDIA H200"
    assert gpu.memory_bytes == 150_754_820_096
    assert gpu.cuda == "13.2"
    assert gpu.l2_bytes == 4_194_304


@pytest.mark.usefixtures("no_nvml", "driver")
def test_a_jetsons_gpu_is_told_by_the_driver_and_the_kernel(tmp_path, monkeypatch):
    monkeypatch.setattr(look, "look_at_jetson", lambda root: None)
    assert look_around(device=0, root=plant(tmp_path, ORIN_NX)).gpu == Gpu(
        name="Orin",
        compute_capability="8.7",
        cuda="12.6",
        memory_bytes=8_000_000_000,
        l2_bytes=4_194_304,
        max_sm_mhz=918,
    )


@pytest.mark.usefixtures("h200", "no_driver")
def test_nvml_alone_is_enough(tmp_path, h200):
    gpu = look_around(device=0, root=tmp_path).gpu
    assert (gpu.name, gpu.l2_bytes) == ("NVIDIA H200", None)
    assert h200.started == 0


@pytest.mark.usefixtures("no_nvml", "no_driver")
def test_a_gpu_that_nothing_tells_of_is_none(tmp_path):
    assert look_around(device=0, root=tmp_path).gpu is None


@pytest.mark.usefixtures("h200", "driver")
def test_an_environment_survives_json(tmp_path):
    found = look_around(device=0, root=plant(tmp_path, XEON))
    sampler = start_sampling(0, tmp_path)
    sampler("a")
    found = replace(found, samples=sampler.samples)
    assert Environment.from_dict(json.loads(json.dumps(asdict(found)))) == found


@pytest.mark.parametrize(
    ("record", "fields"),
    [
        (Cpu, {"model": "x", "logical": 1, "affinity": [[]]}),
        (Cpu, {"model": "x", "logical": 1, "affinity": [0], "turbo": "yes"}),
        (Gpu, {"index": 0}),
        (Gpu, {"name": "x", "index": "first"}),
        (Sample, {"seconds": 1, "row": "a", "throttle": [], "rails": {"VDD_IN": []}}),
        (Sample, {"seconds": 1, "row": "a", "throttle": [], "rails": []}),
    ],
)
def test_a_record_with_a_field_of_another_type_is_refused(record, fields):
    with pytest.raises(ValueError, match="is"):
        record.from_dict(fields)
