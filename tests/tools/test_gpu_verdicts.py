"""What the suite makes of its figures: verdicts, and the page."""

import json

import pytest
from gpu import report
from gpu.page import page, summary
from gpu.parts import Part
from gpu.tables import details
from gpu.verdicts import MISSED, ON_QUICK, OPEN, REACHED, judge
from made_up import MACHINE, broken, error, fast_deconv, parts, run_of_tests, whitening


def status(found):
    return [verdict.status for verdict in judge(found)]


def test_all_is_reached_where_every_figure_is_good_enough():
    found = parts([whitening()], [fast_deconv()], [error()])
    assert status(found) == [REACHED] * 7
    assert {verdict.covered for verdict in judge(found)} == {1}


@pytest.mark.parametrize(
    ("index", "frozen", "dynamic", "errors"),
    [
        (0, whitening(**{"share of copy": 0.79}), fast_deconv(), error()),
        (1, whitening(**{"faster than conv": 0.99}), fast_deconv(), error()),
        (2, whitening(size=7, **{"faster than conv": 0.99}), fast_deconv(), error()),
        (3, whitening(), fast_deconv(**{"faster than eager": 4.9}), error()),
        (4, whitening(), fast_deconv(**{"over roofline tf32": 2.6}), error()),
        (5, whitening(), fast_deconv(**{"over roofline fp32": 2.6}), error()),
        (6, whitening(), fast_deconv(), error(rms=1.1e-5)),
    ],
)
def test_the_worst_figure_decides(index, frozen, dynamic, errors):
    found = parts([whitening(), frozen], [fast_deconv(), dynamic], [error(), errors])
    expected = [REACHED] * 7
    expected[index] = MISSED
    if index == 1:  # what is slow there is slow somewhere
        expected[2] = MISSED
    assert status(found) == expected
    assert (judge(found)[index].covered, judge(found)[index].met) == (2, 1)


def test_a_verdict_names_where_its_worst_figure_was_measured():
    found = parts([whitening(), whitening(channels=64, **{"share of copy": 0.5})])
    assert judge(found)[0].worst == "0.50 (64 channels at 56x56, batch 32, float32)"


def test_figures_outside_of_a_target_do_not_count():
    small = whitening(size=7, **{"share of copy": 0.1})
    narrow = whitening(channels=64, **{"faster than conv": 0.2})
    # Two microseconds on paper, which no launch is faster than.
    tiny = fast_deconv(layer="downsample", **{"roofline tf32 us": 2.0, "over roofline tf32": 9.0})
    of_channels = fast_deconv(op="ChannelDeconv", **{"faster than eager": 1.0})
    found = parts([whitening(), small, narrow], [fast_deconv(), tiny, of_channels], [error()])
    assert status(found) == [REACHED] * 7


def test_what_was_not_measured_is_not_judged_and_says_why():
    missing = Part("frozen", "not run", "no CUDA device: pip install torch")
    unknown = fast_deconv()
    for key in [key for key in unknown if "roofline" in key]:
        del unknown[key]
    found = [missing, Part("dynamic", "ran", rows=[unknown])]
    verdicts = judge(found)
    assert [v.status for v in verdicts] == [OPEN, OPEN, OPEN, REACHED, OPEN, OPEN, OPEN]
    assert verdicts[0].worst == "no CUDA device: pip install torch"
    assert verdicts[4].worst == "the device's peaks are not known"
    assert verdicts[6].worst == "the part 'errors' was not run"


def test_a_call_that_failed_is_not_good_enough():
    found = parts([whitening(), broken(whitening(channels=64))], [broken(fast_deconv())], [error()])
    verdicts = judge(found)
    assert (verdicts[0].status, verdicts[0].met, verdicts[0].covered) == (MISSED, 1, 2)
    assert verdicts[0].worst == "failed: 64 channels at 56x56, batch 32, float32"
    assert [verdict.status for verdict in verdicts[3:6]] == [MISSED] * 3
    text = page(report.make(found, "", MACHINE))
    assert "RuntimeError: out of memory" in text


def test_fewer_shapes_are_not_said_to_be_all():
    found = parts([whitening()], [fast_deconv()], [error()], quick=True)
    assert status(found) == [ON_QUICK] * 7
    worse = parts([whitening(**{"share of copy": 0.1})], quick=True)
    assert status(worse)[0] == MISSED


def test_errors_without_bounds_survive_being_written_down():
    rows = [error(rms=float("inf"), error=float("inf"), status="wrong", reason="off by inf")]
    made = report.make(parts(errors=rows), "", MACHINE)
    assert "Infinity" not in json.dumps(made)
    assert "| inf |" in page(made)
    again = [Part(**fields) for fields in made["parts"]]
    assert judge(again)[6].status == MISSED
    assert judge(again)[6].worst == "inf (NDChannelDeconv 2x8 float16)"


def test_an_error_where_pytorch_has_none_is_infinitely_larger():
    assert status(parts(errors=[error(**{"rms": 0.0, "pytorch rms": 0.0})]))[6] == REACHED
    assert status(parts(errors=[error(**{"pytorch rms": 0.0})]))[6] == MISSED


def test_every_row_and_every_part_that_did_not_run_is_on_the_page():
    copy = {"what": "copy", "bytes_per_s": 4.2e12}
    found = [
        *parts([copy, whitening()], [fast_deconv()], [error()]),
        Part("sanitizer", "not run", "compute-sanitizer is not on PATH"),
        Part("tests", "failed", "1 failed", [run_of_tests(failed=["a::b"])]),
    ]
    command = "python tools/gpu_suite.py --quick"
    made = json.loads(json.dumps(report.make(found, command, MACHINE), allow_nan=False))
    text = page(made)
    assert "python tools/gpu_suite.py --quick" in text
    assert made["date"] in text
    assert "NVIDIA H200 (driver_version 580.65.06, temperature.gpu 31)" in text
    assert "TF32 is off" in text
    assert "| sanitizer | not run | compute-sanitizer is not on PATH | 0 |" in text
    assert "| copy | 4200 |" in text
    assert (
        "| 256 | 56 | 32 | float32 | 50.0 |  | 90.0 |  |  | 80.0 | 90% | 1.80 | 1.60 |  |" in text
    )
    assert "layer1.0.conv1" in text
    assert "| all | 5 | a::b | 2 x no GPU |  |  |" in text
    assert text.count("| reached |") == 7
    assert "sanitizer  not run  compute-sanitizer is not on PATH" in summary(found, judge(found))


def test_a_cell_cannot_break_its_table():
    row = run_of_tests(what="a|b\nc")
    assert details(Part("tests", "ran", rows=[row])).endswith(
        "| a\\|b c | 5 |  | 2 x no GPU |  |  |"
    )
