import numpy as np
import pytest

from nd_deploy.profiling.contestant import Contestant
from nd_deploy.profiling.environment.record import Cpu, Environment, Gpu, Sample
from nd_deploy.profiling.environment.state import NotSampled
from nd_deploy.profiling.figures import Measured, Ratio
from nd_deploy.profiling.remarks import (
    FEW,
    LAUNCH_BOUND,
    NOISY,
    NOT_SAMPLED,
    OTHER_LOAD,
    OUTLIERS,
    THROTTLED,
    TRANSFERS,
    WIDE,
    remarks_on_machine,
    remarks_on_row,
)
from nd_deploy.profiling.results import Row
from nd_deploy.profiling.statistics import summarise

STEADY = np.tile([0.99e-3, 1e-3, 1.01e-3, 1e-3], 50)


def row(contestant=None, ratio=None, **samples):
    metrics = {
        name: Measured(summarise(np.asarray(values, np.float64)), ((1e-3,),))
        for name, values in ({"latency": STEADY} | samples).items()
    }
    return Row(contestant or Contestant("m", "ort-cpu", 1), metrics, 1e3, ratio)


def kinds(found):
    return [remark.kind for remark in found]


def on_gpu(graph=False, **medians):
    samples = {name: STEADY * factor for name, factor in medians.items()}
    return row(Contestant("m", "tensorrt", 1, cuda_graph=graph), **samples)


def ratio(low, high):
    return Ratio("m", "latency", 1.0, low, high, 0.95)


def test_steady_figures_leave_nothing_to_say():
    assert remarks_on_row(row(ratio=ratio(0.99, 1.01)), [STEADY], [Sample(0.0, "m")]) == ()


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        (row(latency=np.tile([1e-3, 1.06e-3], 60)), NOISY),
        (row(latency=STEADY[:99]), FEW),
        (row(ratio=ratio(0.9, 1.0)), WIDE),
        (on_gpu(compute=1.0, enqueue=0.81), LAUNCH_BOUND),
        (on_gpu(compute=1.0, h2d=0.6, d2h=0.5), TRANSFERS),
    ],
)
def test_each_threshold_has_its_remark_with_the_number_and_a_next_step(found, kind):
    (remark,) = remarks_on_row(found, [STEADY])
    assert remark.kind == kind
    assert any(character.isdigit() for character in remark.problem)
    assert remark.remedy


@pytest.mark.parametrize(
    "found",
    [
        row(latency=np.tile([1e-3, 1.04e-3], 60)),
        row(latency=STEADY[:100]),
        row(ratio=ratio(0.95, 1.04)),
        on_gpu(compute=1.0, enqueue=0.79),
        on_gpu(compute=1.0, enqueue=0.9, graph=True),
        on_gpu(compute=1.0, h2d=0.6, d2h=0.39),
    ],
)
def test_under_a_threshold_nothing_is_said(found):
    assert remarks_on_row(found, [STEADY]) == ()


def test_outliers_are_counted_turn_by_turn():
    turns = [np.append(STEADY, [9e-3] * 5)]
    (remark,) = remarks_on_row(row(), turns)
    assert remark.kind == OUTLIERS
    assert remark.problem.startswith(f"{5 / 205:.1%} of the iterations")
    assert "Iglewicz and Hoaglin" in remark.problem


def test_clocks_held_down_are_told_with_their_reasons():
    samples = [
        Sample(0.0, "m"),
        Sample(1.0, "m", throttle=("sw_power_cap",)),
        Sample(2.0, "m", throttle=("hw_slowdown", "sw_power_cap")),
    ]
    (remark,) = remarks_on_row(row(), [STEADY], samples)
    assert remark.kind == THROTTLED
    assert "after 2 of 3 turns: hw_slowdown, sw_power_cap" in remark.problem


def environment(busy=0.0, gpu=None):
    return Environment("x86_64", "Linux", "3.11", Cpu("cpu", 2, (0, 1), busy=busy), gpu=gpu)


def test_a_quiet_machine_leaves_nothing_to_say():
    quiet = Gpu("gpu", utilisation=1.0, other_processes=0)
    assert remarks_on_machine(environment(0.04, quiet)) == ()


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (environment(0.2), "other processes took 20% of the processors' time"),
        (environment(gpu=Gpu("H200", other_processes=2)), "2 other processes compute on H200"),
        (environment(gpu=Gpu("H200", utilisation=40.0)), "H200 was busy for 40 %"),
    ],
)
def test_other_load_is_told(found, said):
    (remark,) = remarks_on_machine(found)
    assert remark.kind == OTHER_LOAD
    assert said in remark.problem


def test_what_was_not_sampled_is_told_with_what_to_do():
    found = remarks_on_machine(environment(), [NotSampled("clocks are not sampled", "install it")])
    assert [(r.kind, r.problem, r.remedy) for r in found] == [
        (NOT_SAMPLED, "clocks are not sampled", "install it")
    ]
