import csv
import io
from dataclasses import replace

import pytest
from made_up_profiles import on_a_gpu, on_a_processor, profile, row

from nd_deploy.report.csv_file import COLUMNS, to_csv


def read(measurement):
    return list(csv.DictReader(io.StringIO(to_csv(measurement))))


def test_every_metric_of_every_row_has_its_line():
    measurement = on_a_gpu()
    found = [(line["model"], line["runtime"], line["metric"]) for line in read(measurement)]
    assert found == [
        (each.contestant.model, each.contestant.runtime, metric)
        for each in measurement.rows
        for metric in ("latency", "compute", "enqueue", "h2d", "d2h")
    ]


def test_times_are_seconds_and_shares_fractions():
    measurement = on_a_processor()
    line = read(measurement)[1]
    summary = measurement.rows[1].latency
    for name in ("mean", "std", "min", "p50", "p90", "p95", "p99", "max"):
        assert float(line[f"{name}_s"]) == pytest.approx(getattr(summary, name), rel=1e-5)
    assert (float(line["cv"]), int(line["n"])) == (pytest.approx(summary.cv, rel=1e-5), 1000)
    assert float(line["throughput_per_s"]) == pytest.approx(1 / 0.34e-3, rel=1e-5)
    assert float(line["of_gemm"]) == pytest.approx(2.2e7 / 0.34e-3 / 9e10, rel=1e-5)
    assert (line["created"], line["threads"]) == (measurement.created, "1")


def test_a_ratio_stands_beside_the_metric_that_it_is_of():
    measurement = on_a_gpu()
    ratio = replace(measurement.rows[1].ratio, metric="compute", estimate=0.5)
    rows = (measurement.rows[0], replace(measurement.rows[1], compute_ratio=ratio))
    found = {line["metric"]: line for line in read(replace(measurement, rows=rows))[5:]}
    assert found["latency"]["ratio_estimate"] == f"{0.9 / 1.3:.6g}"
    assert found["compute"]["ratio_estimate"] == "0.5"
    assert found["compute"]["ratio_over"] == "naive, ort-cuda, batch 32"
    assert found["enqueue"]["ratio_over"] == ""


def test_what_is_the_rows_own_is_in_one_line_of_it():
    lines = read(on_a_gpu())[:5]
    assert [bool(line["throughput_per_s"]) for line in lines] == [True, False, False, False, False]


def test_what_there_is_none_of_is_empty():
    (line,) = read(profile(row()))
    for name in ("threads", "ratio_over", "error", "flops", "of_roofline"):
        assert line[name] == ""


def test_a_name_of_any_characters_is_read_back():
    name = 'a, "b"\nc'
    (line,) = read(profile(row(name)))
    assert line["model"] == name
    assert tuple(line) == COLUMNS
