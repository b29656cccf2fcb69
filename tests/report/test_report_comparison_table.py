from dataclasses import replace

import pytest
from made_up_profiles import on_a_processor, profile, row

from nd_deploy.cli.render import plain_table
from nd_deploy.profiling.comparison import Comparison, RowChange, compare
from nd_deploy.profiling.statistics import Interval
from nd_deploy.report.comparison_table import comparison_table

EVEN, SLOW = Interval(1.0, 0.98, 1.02), Interval(1.2, 1.1, 1.3)


def lines_of(*changes):
    """The table as one dictionary a line."""
    columns, lines = comparison_table(Comparison(changes, (), (), ()))
    return [dict(zip(columns, line, strict=True)) for line in lines]


def test_a_line_has_both_medians_both_changes_and_the_verdict():
    old, new = row(mean=1e-3, threads=1), row(mean=1.2e-3, threads=1)
    (line,) = lines_of(RowChange(old, new, SLOW, EVEN))
    assert line == {
        ">batch": "1",
        "model": "digits",
        "runtime": "ort-cpu",
        ">threads": "1",
        ">old p50 ms": "1.00",
        ">new p50 ms": "1.20",
        ">change of latency": "1.20 [1.10, 1.30]",
        ">change of ratio": "1.00 [0.98, 1.02]",
        "verdict": "no difference seen",
    }


def test_models_of_other_names_are_both_named():
    (line,) = lines_of(RowChange(row("v1"), row("v2"), SLOW))
    assert (line["model"], line["verdict"]) == ("v1 -> v2", "slower")


def test_the_baseline_is_told_from_what_is_judged():
    lines = lines_of(
        RowChange(row("naive"), row("naive"), SLOW, only_baseline=True),
        RowChange(row(), row(), SLOW, EVEN),
    )
    assert [line["verdict"] for line in lines] == ["slower (baseline)", "no difference seen"]
    assert [line[">change of ratio"] for line in lines] == ["", "1.00 [0.98, 1.02]"]


def test_a_column_that_is_empty_for_all_rows_is_left_out():
    (line,) = lines_of(RowChange(row(), row(), EVEN))
    assert not {">threads", "run with", ">change of ratio"} & set(line)


def test_rows_of_a_batch_stand_together():
    rows = [row(model, batch=batch) for model in ("a", "b") for batch in (8, 1)]
    found = lines_of(*(RowChange(each, each, EVEN) for each in rows))
    assert [(line[">batch"], line["model"]) for line in found] == [
        ("1", "a"), ("1", "b"), ("8", "a"), ("8", "b")
    ]  # fmt: skip


@pytest.mark.parametrize("made_up", [on_a_processor, lambda: profile(row())])
def test_a_terminal_can_show_the_comparison_of_two_measurements(made_up):
    old = made_up()
    new = replace(old, created="2026-11-26T12:00:00+00:00")
    text = plain_table(*comparison_table(compare(old, new))).splitlines()
    assert len(text) == 1 + len(old.rows)
    assert all("no difference seen" in line for line in text[1:])
