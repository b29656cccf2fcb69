"""Lines as tegrastats prints them, and a made-up tegrastats."""

import os
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nd_deploy.profiling.environment.state import NotSampled, State
from nd_deploy.profiling.environment.tegrastats import Tegrastats, parse, start_tegrastats

JETPACK_6 = (
    "11-25-2026 10:20:30 RAM 6712/7620MB (lfb 12x4MB) SWAP 369/3810MB (cached 8MB) "
    "CPU [38%@1497,2%@729,1%@729,off,off,0%@729] EMC_FREQ 61%@2133 GR3D_FREQ 99%@[612] "
    "NVDEC off NVJPG off VIC off OFA off APE 200 cpu@57.125C soc2@55.093C soc0@56.625C "
    "gpu@58.625C tj@58.312C soc1@55.937C VDD_IN 16321mW/11204mW VDD_CPU_GPU_CV 7104mW/4944mW "
    "VDD_SOC 3120mW/3001mW\n"
)
AGX_ORIN = (
    "RAM 4321/62801MB (lfb 1759x4MB) SWAP 19/31400MB (cached 0MB) CPU [0%@729,0%@2188] "
    "EMC_FREQ 0%@2133 GR3D_FREQ 0%@[0,0] VIC_FREQ 729 APE 174 CV0@-256C CPU@44.562C Tboard@32C "
    "SOC2@40.093C Tdiode@33C GPU@-256C tj@44.343C VDD_GPU_SOC 2340mW/2290mW VDD_CPU_CV 390mW/390mW "
    "VIN_SYS_5V0 4025mW/4020mW NC 0mW/0mW VDDQ_VDD2_1V8AO 301mW/301mW NC 0mW/0mW\n"
)
XAVIER_JETPACK_5 = (
    "07-09-2024 13:31:31 RAM 3168/6851MB (lfb 2x4MB) SWAP 161/3426MB (cached 0MB) "
    "CPU [23%@1397,17%@1192,16%@1190,13%@1190,off,off] EMC_FREQ 2%@204 GR3D_FREQ 0%@[114] "
    "VIC_FREQ 115 APE 150 AUX@45C CPU@46.5C thermal@45.6C AO@45C GPU@45.5C PMIC@50C "
    "VDD_IN 2763mW/2846mW VDD_CPU_GPU_CV 650mW/670mW VDD_SOC 650mW/711mW\n"
)
NANO_JETPACK_4 = (
    "RAM 1024/3956MB (lfb 5x4MB) SWAP 0/1978MB (cached 0MB) CPU [5%@1479,off,off,3%@1479] "
    "EMC_FREQ 4%@1600 GR3D_FREQ 20%@921 APE 25 PLL@31C CPU@34.5C PMIC@100C GPU@33C AO@40C "
    "thermal@33.75C POM_5V_IN 2532/2498 POM_5V_GPU 41/41 POM_5V_CPU 458/441\n"
)


def test_a_line_of_jetpack_6_is_read_whole():
    assert parse(JETPACK_6) == State(
        sm_mhz=612,
        memory_mhz=2133,
        temperature_c=58.625,
        power_w=16.321,
        rails={"VDD_IN": 16.321, "VDD_CPU_GPU_CV": 7.104, "VDD_SOC": 3.12},
        cpu_mhz=(1497 + 3 * 729) / 4,  # of those that are on
    )


def test_a_gpu_without_power_has_no_clock_and_the_chips_temperature():
    state = parse(AGX_ORIN)
    assert state.sm_mhz is None
    assert state.temperature_c == 44.343
    assert state.power_w is None  # no rail of this board stands for the whole of it
    assert state.rails == {
        "VDD_GPU_SOC": 2.34,
        "VDD_CPU_CV": 0.39,
        "VIN_SYS_5V0": 4.025,
        "VDDQ_VDD2_1V8AO": 0.301,
    }


def test_sensors_of_jetpack_5_are_written_in_capitals():
    state = parse(XAVIER_JETPACK_5)
    assert (state.sm_mhz, state.temperature_c, state.power_w) == (114, 45.5, 2.763)


def test_rails_of_jetpack_4_have_no_unit():
    state = parse(NANO_JETPACK_4)
    assert state.rails == {"POM_5V_IN": 2.532, "POM_5V_GPU": 0.041, "POM_5V_CPU": 0.458}
    assert (state.sm_mhz, state.power_w) == (921, 2.532)


def test_the_faster_of_two_clusters_counts():
    assert parse("GR3D_FREQ 40%@[764,1020] VIC off").sm_mhz == 1020


def test_a_load_without_a_clock_leaves_the_clock_unknown():
    assert parse("EMC_FREQ 0% GR3D_FREQ 61% APE 150") == State()


@given(st.text("RAMCPUGEMC_FQ3D[]@%,/mW VN-.0129\u0663\0", max_size=80))
def test_a_line_of_garbage_raises_nothing(line):
    parse(line)


@given(st.integers(0, len(JETPACK_6)))
def test_a_line_that_is_cut_has_no_rail_that_is_not_in_the_whole_one(place):
    state = parse(JETPACK_6[:place])
    assert state.rails.items() <= parse(JETPACK_6).rails.items()
    assert state.temperature_c in (None, 58.625)


@pytest.fixture
def printing():
    """A tegrastats whose other end of the pipe is the test's."""
    reading, writing = os.pipe()

    class Process:
        stdout = os.fdopen(reading, "rb", 0)

    yield (
        Tegrastats(Process),
        lambda text: os.write(writing, text.encode()),
        lambda: os.close(writing),
    )
    Process.stdout.close()


def test_the_last_whole_line_counts(printing):
    tegrastats, say, end = printing
    assert tegrastats.read() == State()
    say(XAVIER_JETPACK_5 + JETPACK_6 + AGX_ORIN[:60])
    assert tegrastats.read() == parse(JETPACK_6)
    assert tegrastats.read() == parse(JETPACK_6)
    say(AGX_ORIN[60:])
    assert tegrastats.read() == parse(AGX_ORIN)
    end()


def test_a_program_that_has_ended_tells_nothing_of_the_present(printing):
    tegrastats, say, end = printing
    say(JETPACK_6)
    end()
    assert tegrastats.read() == State()


def test_a_program_that_goes_on_is_ended_by_closing(tmp_path):
    script = tmp_path / "tegrastats"
    script.write_text("#!/bin/sh\nexec sleep 60\n")
    script.chmod(0o755)
    tegrastats = start_tegrastats((str(script), "--interval", "200"))
    assert isinstance(tegrastats, Tegrastats)
    tegrastats.close()
    assert tegrastats._process.returncode is not None


def test_a_program_that_does_not_listen_is_killed(monkeypatch, tmp_path):
    monkeypatch.setattr("nd_deploy.profiling.environment.tegrastats._PATIENCE_S", 0)
    process = subprocess.Popen(["sleep", "60"], stdout=subprocess.PIPE)
    monkeypatch.setattr(process, "terminate", lambda: None)
    Tegrastats(process).close()
    assert process.returncode == -9


def test_a_program_that_is_absent_is_told():
    found = start_tegrastats(("no-such-program-as-this",))
    assert isinstance(found, NotSampled)
    assert "no-such-program-as-this does not start: No such file" in found.problem
