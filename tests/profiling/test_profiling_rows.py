import math

import numpy as np
import pytest

from nd_deploy.errors import ParityError
from nd_deploy.profiling.contestant import Contestant
from nd_deploy.profiling.environment.record import Sample
from nd_deploy.profiling.rounds import Timed
from nd_deploy.profiling.rows import check_outputs, rows_of
from nd_deploy.runtime.base import Receipt

NAIVE, FOLDED = (Contestant(name, "ort-cpu", 4) for name in ("naive", "folded"))
RECEIPT = Receipt("onnxruntime", "1.31", ("CPUExecutionProvider",), ("CPUExecutionProvider",))


def timed(scale=1.0, outputs=None, metrics=("latency",), drift=(1.0, 2.0)):
    """Two openings of two rounds each; the machine is slower in the second."""
    turn = np.tile([0.99e-3, 1e-3, 1.01e-3], 40) * scale
    openings = tuple((turn * slow, turn * slow * 1.5) for slow in drift)
    return Timed(
        dict.fromkeys(metrics, openings),
        outputs or {"y": np.ones((4, 2), np.float32)},
        RECEIPT,
        {"host": 7},
        {"open": 0.5},
    )


def test_a_row_says_what_was_measured_of_its_contestant():
    (row,) = rows_of([FOLDED], [timed()], [[np.full((4, 2), 1.25)]], [])
    assert row.contestant == FOLDED
    samples = np.concatenate([turn for turns in timed().samples["latency"] for turn in turns])
    assert row.latency.n == len(samples) == 480
    assert row.latency.p50 == pytest.approx(np.median(samples))
    assert row.throughput == pytest.approx(4 / samples.mean())
    assert row.metrics["latency"].rounds == ((1e-3, 1.5e-3), (2e-3, 3e-3))
    assert row.error == pytest.approx(0.25 / 1.25)
    assert row.ratio is None
    assert row.receipt["providers_got"] == ("CPUExecutionProvider",)
    assert (row.memory, row.setup) == ({"host": 7}, {"open": 0.5})


def test_a_machine_that_slows_down_leaves_the_ratio_as_it_is():
    rows = rows_of([NAIVE, FOLDED], [timed(), timed(0.7)], [None, None], [])
    assert rows[0].ratio is None
    ratio = rows[1].ratio
    assert ratio.over == "naive, ort-cpu, batch 4"
    assert (ratio.estimate, ratio.low, ratio.high) == pytest.approx((0.7, 0.7, 0.7))
    assert rows[1].error is None


def test_compute_is_compared_where_both_have_it():
    on_gpu = [Contestant(name, "tensorrt", 1) for name in ("naive", "folded")]
    both = [timed(metrics=("latency", "compute")), timed(0.5, metrics=("latency", "compute"))]
    assert rows_of(on_gpu, both, [None] * 2, [])[1].compute_ratio.estimate == pytest.approx(0.5)
    assert rows_of(on_gpu, [timed(), both[1]], [None] * 2, [])[1].compute_ratio is None


def test_a_row_is_warned_about_by_its_own_samples():
    samples = [Sample(0.0, str(FOLDED), throttle=("sw_power_cap",)), Sample(1.0, str(NAIVE))]
    rows = rows_of([NAIVE, FOLDED], [timed(), timed()], [None, None], samples)
    throttled = [any(r.kind == "throttled" for r in row.remarks) for row in rows]
    assert throttled == [False, True]


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_a_model_that_gives_what_is_no_number_is_refused(wrong):
    outputs = {"y": np.array([[1, wrong, wrong]], np.float32)}
    with pytest.raises(ParityError, match="2 of 3 values of output 'y' are NaN or infinite"):
        check_outputs(FOLDED, outputs)


def test_numbers_and_whole_numbers_are_taken():
    check_outputs(FOLDED, {"y": np.ones(3, np.float16), "label": np.array([1, 2])})
