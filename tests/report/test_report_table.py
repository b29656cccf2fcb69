from dataclasses import replace

import pytest
from made_up_profiles import compared, on_a_gpu, on_a_processor, profile, row

from nd_deploy.cli.render import plain_table
from nd_deploy.report.table import table_of


def cells_of(measurement):
    """The table as one dictionary a line."""
    columns, lines = table_of(measurement)
    return [dict(zip(columns, line, strict=True)) for line in lines]


def test_the_ratio_comes_first_and_the_distribution_follows():
    columns, _ = table_of(on_a_processor())
    assert columns == (
        ">batch",
        "model",
        "runtime",
        ">threads",
        ">ratio",
        ">p50 ms",
        ">p90 ms",
        ">p95 ms",
        ">p99 ms",
        ">mean ms",
        ">CV",
        ">inputs/s",
        ">of GEMM peak",
        ">of roofline",
    )


def test_figures_are_those_of_the_row_to_three_digits():
    first, second = cells_of(on_a_processor())[:2]
    assert first[">ratio"] == ""
    assert second[">ratio"] == "0.71 [0.70, 0.72]"
    assert (second[">mean ms"], second[">CV"]) == ("0.340", "2.0 %")
    assert second[">inputs/s"] == f"{1 / 0.34e-3:.0f}"
    assert second[">of GEMM peak"] == f"{100 * 2.2e7 / 0.34e-3 / 9e10:.0f} %"


def test_rows_of_a_batch_stand_together_in_their_order():
    rows = [row("a", batch=8), row("a", batch=1), row("b", batch=8), row("b", batch=1)]
    found = [(line[">batch"], line["model"]) for line in cells_of(profile(*rows))]
    assert found == [("1", "a"), ("1", "b"), ("8", "a"), ("8", "b")]


def test_a_column_that_is_empty_for_all_rows_is_left_out():
    columns, _ = table_of(profile(row()))
    assert not {">threads", "run with", ">ratio", ">of roofline", ">compute ms"} & set(columns)
    columns, _ = table_of(profile(row(), row(threads=2)))
    assert ">threads" in columns


def test_all_times_have_one_unit():
    columns, lines = table_of(profile(row("fast", mean=20e-6), row("slow", mean=50e-3)))
    assert {column for column in columns if "p50" in column} == {">p50 us"}
    place = columns.index(">mean us")
    assert [line[place] for line in lines] == ["20.0", "50000"]


def test_a_gpu_has_its_own_time_and_the_launch_besides():
    line = cells_of(on_a_gpu())[2]
    assert (line[">compute ms"], line[">enqueue ms"]) == ("0.640", "0.240")
    assert line["run with"] == "CUDA graph"


def test_a_row_that_lacks_what_another_has_gets_an_empty_cell():
    on_gpu, on_cpu = on_a_gpu().rows[0], row(batch=32)
    assert cells_of(profile(on_gpu, on_cpu))[1][">compute ms"] == ""


def test_a_share_of_an_unknown_peak_is_left_out():
    usage = replace(on_a_processor().rows[0].usage, of_gemm=None, of_roofline=None)
    columns, _ = table_of(profile(row(usage=usage)))
    assert not {">of GEMM peak", ">of roofline"} & set(columns)


@pytest.mark.parametrize("made_up", [on_a_processor, on_a_gpu])
def test_a_terminal_can_show_it(made_up):
    measurement = made_up()
    text = plain_table(*table_of(measurement)).splitlines()
    assert len(text) == 1 + len(measurement.rows)


def test_ratios_are_over_what_they_say_even_if_it_is_not_the_first_row():
    rows = compared([row("folded", mean=5e-4), row("naive")], over=1)
    assert [line[">ratio"] for line in cells_of(profile(*rows))] == ["0.50 [0.49, 0.51]", ""]
