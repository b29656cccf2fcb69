"""The processor of made-up machines, and of this one."""

import json
import os
import platform
from dataclasses import asdict
from pathlib import Path

import pytest
from machine_trees import ORIN_NX, XEON, plant

from nd_deploy.profiling.environment.cgroup import quota
from nd_deploy.profiling.environment.cpu import busy, look_at_cpu
from nd_deploy.profiling.environment.record import Cpu

STAT = "cpu  {} 0 {} {} {} 0 0 {} 900 0\ncpu0 1 1 1 1 1 1 1 1 1 1\nintr 5\n"
SELF = "77 (a) b (c) R 1 77 77 0 -1 0 0 0 0 0 {} {} 5 6 20 0 1 0 100 0 0\n"


def no_wait(seconds):
    assert seconds > 0


def test_a_server_is_described_by_its_files(tmp_path):
    cpu = look_at_cpu(plant(tmp_path, XEON), no_wait)
    assert cpu.model == "Intel(R) Xeon(R) Gold 6248 CPU @ 2.50GHz"
    assert cpu.logical == 5  # 0, 1, 2, 3 and 6
    assert cpu.governor == "performance+powersave"
    assert cpu.turbo is False  # by intel_pstate, which rules over cpufreq's own switch
    assert cpu.mhz == 2550  # the mean of 1200 and 3900
    assert cpu.load == 1.25
    assert cpu.busy is None
    assert cpu.quota is None


def test_the_clock_is_taken_from_cpuinfo_where_cpufreq_has_none(tmp_path):
    root = plant(tmp_path, {"proc/cpuinfo": XEON["proc/cpuinfo"]})
    assert look_at_cpu(root, no_wait).mhz == 1500


@pytest.mark.parametrize(("switch", "turbo"), [("1", True), ("0", False)])
def test_turbo_is_cpufreqs_boost_without_intel_pstate(tmp_path, switch, turbo):
    plant(tmp_path, {"sys/devices/system/cpu/cpufreq/boost": switch})
    assert look_at_cpu(tmp_path, no_wait).turbo is turbo


def test_an_arm_processor_is_named_by_its_numbers_and_its_board(tmp_path):
    cpu = look_at_cpu(plant(tmp_path, ORIN_NX), no_wait)
    assert cpu.model == (
        "CPU implementer 0x41, part 0xd42, in "
        "NVIDIA Jetson Orin NX Engineering Reference Developer Kit"
    )


def test_two_kinds_of_cores_are_both_named(tmp_path):
    cores = "CPU implementer: 0x41\nCPU part: 0xd05\n\nCPU implementer: 0x41\nCPU part: 0xd0b\n"
    plant(tmp_path, {"proc/cpuinfo": cores})
    assert look_at_cpu(tmp_path, no_wait).model == (
        "CPU implementer 0x41, part 0xd05 + CPU implementer 0x41, part 0xd0b"
    )


def test_a_machine_that_tells_nothing_has_only_what_python_knows(tmp_path):
    cpu = look_at_cpu(tmp_path, no_wait)
    assert cpu.model == platform.processor() or cpu.model == platform.machine()
    assert cpu.logical == os.cpu_count()
    assert cpu.affinity == tuple(sorted(os.sched_getaffinity(0)))
    unknown = (cpu.quota, cpu.governor, cpu.turbo, cpu.mhz, cpu.load, cpu.busy)
    assert unknown == (None,) * 6


@pytest.mark.parametrize("garbage", ["", "\0", "a b c\n", "::::\n", "1-2-3,\n", "cpu\n", ")"])
def test_garbage_in_the_files_raises_nothing(tmp_path, garbage):
    names = [
        *XEON, "proc/stat", "proc/self/stat", "proc/self/cgroup", "sys/fs/cgroup/cpu.max",
    ]  # fmt: skip
    plant(tmp_path, dict.fromkeys(names, garbage))
    cpu = look_at_cpu(tmp_path, no_wait)
    assert cpu.busy is None
    assert cpu.quota is None


def ticking(root, others, own, idle, steal=0):
    """A machine on which so many ticks pass while it is watched."""
    plant(
        root,
        {"proc/stat": STAT.format(500, 100, 4000, 50, 10), "proc/self/stat": SELF.format(30, 4)},
    )

    def wait(seconds):
        assert 0 < seconds <= 1
        user, system = others + own[0], own[1]
        plant(
            root,
            {
                "proc/stat": STAT.format(500 + user, 100 + system, 4000 + idle, 50, 10 + steal),
                "proc/self/stat": SELF.format(30 + own[0], 4 + own[1]),
            },
        )

    return wait


def test_others_load_leaves_out_idle_time_and_our_own(tmp_path):
    wait = ticking(tmp_path, others=25, own=(10, 5), idle=60)
    assert busy(tmp_path, wait) == 25 / 100


def test_time_that_other_virtual_machines_take_counts_as_others_load(tmp_path):
    assert busy(tmp_path, ticking(tmp_path, others=10, own=(0, 0), idle=70, steal=20)) == 0.3


def test_own_time_that_is_booked_late_makes_no_negative_load(tmp_path):
    assert busy(tmp_path, ticking(tmp_path, others=-3, own=(20, 0), idle=83)) == 0


def test_nothing_is_waited_for_where_the_kernel_does_not_tell(tmp_path):
    def wait(seconds):
        raise AssertionError

    assert busy(tmp_path, wait) is None


def test_a_clock_that_stands_still_gives_no_share(tmp_path):
    assert busy(tmp_path, ticking(tmp_path, others=0, own=(0, 0), idle=0)) is None


@pytest.mark.parametrize(
    ("files", "processors"),
    [
        pytest.param({"cpu.max": "max 100000"}, None, id="no limit"),
        pytest.param({"a/b/cpu.max": "150000 100000"}, 1.5, id="its own"),
        pytest.param(
            {"a/cpu.max": "50000 100000", "a/b/cpu.max": "max 100000"}, 0.5, id="parent's"
        ),
        pytest.param(
            {"a/cpu.max": "400000 100000", "a/b/cpu.max": "20000 10000"}, 2, id="tightest"
        ),
        pytest.param({"unified/a/b/cpu.max": "300000 100000"}, 3, id="beside version 1"),
        pytest.param({"cpu.max": "200000"}, None, id="no period"),
        pytest.param({"cpu.max": "200000 0"}, None, id="period of nothing"),
        pytest.param({"elsewhere/cpu.max": "200000 100000"}, None, id="another group's"),
    ],
)
def test_a_quota_of_cgroup_2_is_the_tightest_up_to_the_root(tmp_path, files, processors):
    plant(tmp_path, {"proc/self/cgroup": "0::/a/b\n"})
    plant(tmp_path / "sys/fs/cgroup", files)
    assert quota(tmp_path) == processors


@pytest.mark.parametrize(
    ("folder", "allowed", "processors"),
    [
        ("cpu,cpuacct/docker/12ab", "250000", 2.5),
        ("cpu,cpuacct", "250000", 2.5),  # a container that sees its own group as the root
        ("cpu/docker/12ab", "250000", 2.5),
        ("cpu,cpuacct/docker/12ab", "-1", None),
        ("cpuset/docker/12ab", "250000", None),
    ],
)
def test_a_quota_of_cgroup_1_is_found_wherever_it_is_mounted(tmp_path, folder, allowed, processors):
    groups = "5:cpuset:/docker/12ab\n4:cpu,cpuacct:/docker/12ab\n1:name=systemd:/\n"
    plant(tmp_path, {"proc/self/cgroup": groups})
    limit = {"cpu.cfs_quota_us": allowed, "cpu.cfs_period_us": "100000"}
    plant(tmp_path / "sys/fs/cgroup" / folder, limit)
    assert quota(tmp_path) == processors


def test_a_group_outside_of_the_containers_view_leads_nowhere_else(tmp_path):
    plant(tmp_path, {"proc/self/cgroup": "0::/../../other\n"})
    plant(tmp_path, {"sys/cpu.max": "10000 100000", "sys/fs/cgroup/cpu.max": "80000 100000"})
    assert quota(tmp_path) == 0.8


def test_this_machine_is_described_plausibly():
    cpu = look_at_cpu(Path("/"), no_wait)
    assert cpu.model
    assert cpu.logical == os.cpu_count()
    assert cpu.affinity == tuple(sorted(os.sched_getaffinity(0)))
    assert cpu.load is not None
    assert abs(cpu.load - os.getloadavg()[0]) < 5  # it moves between the two
    assert cpu.mhz is None or 100 < cpu.mhz < 10_000
    assert cpu.quota is None or cpu.quota > 0
    assert cpu.busy is None or 0 <= cpu.busy <= 1
    assert Cpu.from_dict(json.loads(json.dumps(asdict(cpu)))) == cpu
