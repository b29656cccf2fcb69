import made_up_profiles as made_up
import pytest

from nd_deploy.profiling.figures import LayerTime, Usage
from nd_deploy.report.page.names import named_rows
from nd_deploy.report.page.roofline import roofline_section
from nd_deploy.report.page.roofs import under_roofs


def row_with(usage, **changes):
    return made_up.row(usage=usage, **changes)


def groups(*rows):
    return under_roofs(named_rows(made_up.profile(*rows)))


def test_a_row_stands_at_its_operations_per_byte_and_per_second():
    row = row_with(Usage(8e6, 2e6, 1e11, 1e10))
    (group,) = groups(row)
    (found,) = group.rows
    point = found.point
    assert (found.named.row, point.name) == (row, "1")
    assert point.intensity == 4.0
    assert point.flops_per_s == pytest.approx(8e6 / row.latency.p50)
    assert point.attainable == 4e10
    assert group.roof.ridge == 10.0


def test_on_a_gpu_a_row_stands_where_its_own_time_puts_it():
    metrics = {"latency": made_up.measured(2e-3), "compute": made_up.measured(1e-3)}
    (group,) = groups(row_with(Usage(8e6, 2e6, 1e11, 1e10), metrics=metrics))
    assert group.rows[0].point.flops_per_s == pytest.approx(8e6 / metrics["compute"].summary.p50)


def test_rows_of_other_peaks_stand_under_another_roof():
    first, second = Usage(1e6, 1e6, 1e11, 1e10), Usage(1e6, 1e6, 2e11, 1e10)
    found = groups(row_with(first), row_with(second, batch=2), row_with(first, batch=3))
    assert [[row.point.name for row in group.rows] for group in found] == [["1", "3"], ["2"]]


@pytest.mark.parametrize(
    "usage",
    [
        None,
        Usage(1e6, 1e6),
        Usage(0.0, 1e6, 1e11, 1e10),
        Usage(1e6, 0.0, 1e11, 1e10),
        Usage(float("nan"), 1e6, 1e11, 1e10),
    ],
)
def test_what_has_no_place_under_a_roof_is_left_out(usage):
    rows = named_rows(made_up.profile(row_with(usage)))
    assert under_roofs(rows) == []
    assert roofline_section(rows, 2, "") == ""


def test_layers_stand_there_too_unless_they_compute_nothing():
    layers = (
        LayerTime("conv", "Conv", 1e-3, None, 4e6, 1e6),
        LayerTime("reshape", "Reshape", 1e-3, None, 0.0, 1e6),
        LayerTime("unknown", "Custom", 1e-3),
    )
    (group,) = groups(row_with(Usage(8e6, 2e6, 1e11, 1e10), layers=layers))
    (point,) = group.layers
    assert (point.intensity, point.flops_per_s) == (4.0, 4e9)


@pytest.mark.usefixtures("undrawn")
def test_the_peaks_and_what_each_row_reaches_are_told():
    usage = Usage(8e6, 2e6, 1e11, 1e10, of_gemm=0.08, of_copy=0.2, of_roofline=0.21)
    text = roofline_section(named_rows(made_up.profile(row_with(usage))), 2, "")
    assert "100 GFLOP/s and 10.0 GB/s" in text
    for cell in ("8.00 M", "2.00 M", "4.00", "8.0 %", "20 %", "21 %"):
        assert f">{cell}</td>" in text
