"""Made-up Jetsons: their device trees, clocks, sensors, and what nvpmodel prints."""

import pytest
from machine_trees import ORIN_NX, XEON, plant

from nd_deploy.profiling.environment.jetson import look_at_jetson, output_of, power_mode
from nd_deploy.profiling.environment.jetson_sensors import JetsonSensors, gpu_max_mhz
from nd_deploy.profiling.environment.record import Jetson
from nd_deploy.profiling.environment.state import State

GPU = "sys/class/devfreq/17000000.gpu"
ZONE = "sys/class/thermal/thermal_zone"


def asked(command):
    assert command == ("nvpmodel", "-q")
    return "NV Power Mode: 25W\n1\n"


def test_a_board_is_described_by_its_files_and_nvpmodel(tmp_path):
    assert look_at_jetson(plant(tmp_path, ORIN_NX), asked) == Jetson(
        model="NVIDIA Jetson Orin NX Engineering Reference Developer Kit",
        release="36.4.3",
        power_mode="25W (1)",
        clocks="locked",
    )


def test_a_server_is_no_jetson_and_no_program_is_run_on_it(tmp_path):
    def never(command):
        raise AssertionError

    assert look_at_jetson(plant(tmp_path, XEON), never) is None


def test_a_container_on_a_jetson_is_known_by_the_device_tree(tmp_path):
    plant(tmp_path, {name: text for name, text in ORIN_NX.items() if not name.startswith("etc")})
    found = look_at_jetson(tmp_path, lambda command: "")
    assert found.model.startswith("NVIDIA Jetson Orin NX")
    assert (found.release, found.power_mode) == (None, None)


def test_another_arm_board_is_no_jetson(tmp_path):
    plant(tmp_path, {"proc/device-tree/compatible": "raspberrypi,5-model-b\0brcm,bcm2712\0"})
    assert look_at_jetson(tmp_path, asked) is None


@pytest.mark.parametrize(
    ("lowest", "clocks"),
    [
        ({f"{GPU}/min_freq": "306000000"}, "free"),
        ({"sys/devices/system/cpu/cpu0/cpufreq/scaling_min_freq": "115200"}, "free"),
        ({}, "locked"),
    ],
)
def test_jetson_clocks_is_in_force_where_no_clock_has_a_range(tmp_path, lowest, clocks):
    assert look_at_jetson(plant(tmp_path, ORIN_NX | lowest), asked).clocks == clocks


def test_whether_jetson_clocks_is_in_force_is_unknown_without_any_clock(tmp_path):
    plant(tmp_path, {"etc/nv_tegra_release": ORIN_NX["etc/nv_tegra_release"]})
    assert look_at_jetson(tmp_path, asked).clocks is None


@pytest.mark.parametrize(
    ("told", "mode"),
    [
        ("NV Power Mode: MAXN\n0\n", "MAXN (0)"),
        ("NV Power Mode: MAXN_SUPER\n2\n", "MAXN_SUPER (2)"),
        ("NVPM WARN: fan mode is not set!\nNV Power Mode: MODE_30W\n2\n", "MODE_30W (2)"),
        ("NV Fan Mode:quiet\nNV Power Mode: MODE_15W_6CORE\n2\n", "MODE_15W_6CORE (2)"),
        (
            "NVPM VERB: Current mode: NV Power Mode: 25W\n1\nNVPM VERB: PARAM CPU_ONLINE\n",
            "25W (1)",
        ),
        ("NV Power Mode: MAXN\n", "MAXN"),
        ("NV Power Mode: \n0\n", None),
        ("NVPM ERROR: failed to read PARAM\n", None),
        ("", None),
    ],
)
def test_the_power_mode_is_read_from_what_nvpmodel_prints(told, mode):
    assert power_mode(told) == mode


def test_a_program_that_is_absent_prints_nothing():
    assert output_of(("no-such-program-as-this", "-q")) == ""


def test_what_a_program_prints_is_kept_although_it_fails():
    assert output_of(("sh", "-c", "echo NV Power Mode: 15W; exit 3")) == "NV Power Mode: 15W\n"


def test_the_sensors_are_read_in_mhz_degrees_and_watts(tmp_path):
    sensors = JetsonSensors(plant(tmp_path, ORIN_NX))
    state = sensors.read()
    sensors.close()
    assert state.sm_mhz == 612
    assert state.temperature_c == 49.625
    assert state.rails == pytest.approx({"VDD_IN": 9.984, "VDD_CPU_GPU_CV": 6.0})
    assert state.power_w == pytest.approx(9.984)
    assert sensors.has_rails
    assert gpu_max_mhz(tmp_path) == 918


def test_the_sensors_are_read_anew_each_time(tmp_path):
    sensors = JetsonSensors(plant(tmp_path, ORIN_NX))
    sensors.read()
    plant(tmp_path, {f"{GPU}/cur_freq": "918000000", f"{ZONE}1/temp": "61000"})
    state = sensors.read()
    assert (state.sm_mhz, state.temperature_c) == (918, 61)


@pytest.mark.parametrize(
    "folder", ["17000000.ga10b", "17000000.gv11b", "gpu-gpc-0", "57000000.gpu"]
)
def test_the_gpus_clock_is_found_under_the_names_it_has_had(tmp_path, folder):
    plant(tmp_path, {f"sys/class/devfreq/{folder}/cur_freq": "1300500000"})
    assert JetsonSensors(tmp_path).read().sm_mhz == 1300.5


@pytest.mark.parametrize(
    ("zones", "degrees"),
    [
        ({"0/type": "GPU-therm", "0/temp": "45500"}, 45.5),
        ({"0/type": "tj-thermal", "0/temp": "47000"}, 47),
        (
            {
                "0/type": "gpu-thermal",
                "0/temp": "-256000",
                "1/type": "tj-thermal",
                "1/temp": "47000",
            },
            47,
        ),
        ({"0/type": "gpu-thermal", "1/type": "tj-thermal", "1/temp": "47000"}, 47),
        ({"0/type": "cpu-thermal", "0/temp": "47000"}, None),
    ],
)
def test_a_gpu_without_power_has_the_temperature_of_the_chip(tmp_path, zones, degrees):
    plant(tmp_path, {f"{ZONE}{name}": text for name, text in zones.items()})
    assert JetsonSensors(tmp_path).read().temperature_c == degrees


def test_a_channel_that_cannot_be_read_is_one_rail_less(tmp_path):
    plant(tmp_path, ORIN_NX)
    (tmp_path / "sys/class/hwmon/hwmon1/curr1_input").unlink()
    state = JetsonSensors(tmp_path).read()
    assert list(state.rails) == ["VDD_CPU_GPU_CV"]
    assert state.power_w is None


def test_a_machine_without_sensors_tells_nothing(tmp_path):
    sensors = JetsonSensors(tmp_path)
    assert sensors.read() == State()
    assert not sensors.has_rails
    assert gpu_max_mhz(tmp_path) is None
