"""Shares of the machine and rooflines, by hand."""

import pytest

from nd_deploy.profiling.figures import LayerTime, Usage
from nd_deploy.profiling.work.peaks import Peaks
from nd_deploy.profiling.work.record import LayerWork, NetworkWork
from nd_deploy.profiling.work.timed_layers import with_work
from nd_deploy.profiling.work.usage import attainable, roofline_points, usage_of

PEAKS = Peaks(1e12, 1e11, "a product", "a copy")


def layer(name, flops, size):
    return LayerWork(name, "Conv", (), flops, size, "float32", (name,))


WORK = NetworkWork((layer("a", 4e9, 1e8), layer("b", 1e9, 3e8)))


def test_shares_are_of_the_peaks_at_the_measured_time():
    usage = usage_of(WORK, PEAKS, 0.01)
    assert (usage.flops, usage.bytes) == (5e9, 4e8)
    assert usage.of_gemm == pytest.approx(5e9 / 1e12 / 0.01)
    assert usage.of_copy == pytest.approx(4e8 / 1e11 / 0.01)
    # "a" is held up by its operations, 4 ms, and "b" by its bytes, 3 ms.
    assert usage.of_roofline == pytest.approx((0.004 + 0.003) / 0.01)


def test_without_peaks_there_is_the_work_alone():
    assert usage_of(WORK, None, 0.01) == Usage(5e9, 4e8)


def test_a_network_that_could_not_be_counted_whole_has_no_shares():
    partly = NetworkWork(WORK.layers, ("sort",))
    assert usage_of(partly, PEAKS, 0.01) == Usage(5e9, 4e8)


def test_the_roofline_rises_with_the_memory_and_is_flat_from_the_ridge_on():
    assert attainable(2, 1e12, 1e11) == pytest.approx(2e11)
    assert attainable(10, 1e12, 1e11) == pytest.approx(1e12)
    assert attainable(500, 1e12, 1e11) == pytest.approx(1e12)


def test_a_layer_stands_at_its_intensity_and_at_what_it_reached():
    (point,) = roofline_points([LayerTime("a", "Conv", 0.01, None, 4e9, 1e9)], 1e12, 1e11)
    assert (point.name, point.intensity) == ("a", 4)
    assert point.flops_per_s == pytest.approx(4e11)
    assert point.attainable == pytest.approx(4e11)


@pytest.mark.parametrize(("flops", "size"), [(None, None), (0, 1e6), (1e6, None)])
def test_a_layer_without_operations_has_no_place_in_a_roofline_chart(flops, size):
    assert roofline_points([LayerTime("a", "Conv", 0.01, None, flops, size)], 1e12, 1e11) == ()


def timed(*names):
    work = NetworkWork((*WORK.layers, layer("whiten/c", 3, 1), layer("whiten/d", 5, 2)))
    times = with_work([LayerTime(name, "", 1.0) for name in names], work)
    return [(time.name, time.flops, time.bytes) for time in times]


def test_a_timed_layer_has_the_work_of_the_nodes_in_its_name():
    assert timed("b", "a") == [("b", 1e9, 3e8), ("a", 4e9, 1e8)]
    assert timed("a + b + relu") == [("a + b + relu", 5e9, 4e8)]
    assert timed("whiten/d") == [("whiten/d", 5, 2)]


def test_a_node_that_a_plugin_runs_has_the_work_of_its_body():
    assert timed("whiten") == [("whiten", 8, 3)]


@pytest.mark.parametrize("name", ["else", "reformat", "{ForeignNode[a...b]}"])
def test_a_timed_layer_that_names_no_node_has_no_work(name):
    assert timed(name) == [(name, None, None)]


def test_work_that_two_timed_layers_share_is_told_of_neither():
    assert timed("a", "a + b") == [("a", None, None), ("a + b", None, None)]
