import numpy as np
import pytest
import torch
from small_networks import tiny_network

import nd_deploy
from nd_deploy.errors import InputError
from nd_deploy.profiling import run
from nd_deploy.profiling.results import Method, Profile
from nd_deploy.report.json_file import document

QUICK = Method(openings=1, rounds=2, turn_seconds=1e-3, warmup_seconds=0, warmup_iterations=1)


@pytest.fixture(scope="module")
def network():
    return tiny_network()


@pytest.fixture(scope="module")
def bundle(network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "tiny"
    return nd_deploy.convert(network, torch.randn(3, 3, 4, 4), folder).path


@pytest.fixture
def cheap_peaks(monkeypatch):
    """Peaks that are not measured; their measurement has tests of its own."""
    from nd_deploy.profiling.work.peaks import Peaks

    found = Peaks(1e12, 1e10, "made up", "made up")
    monkeypatch.setattr("nd_deploy.profiling.explained.measure_peaks", lambda *_, **__: found)


def test_the_whole_of_a_measurement_is_one_record(bundle, network, cheap_peaks):
    found = nd_deploy.profile(
        bundle,
        runtimes=("torch", "ort-cpu"),
        batches=(1, 2),
        threads=(1,),
        against=["naive"],
        network=network,
        method=QUICK,
        layers=True,
    )
    assert isinstance(found, Profile)
    assert Profile.from_dict(document(found)).rows[0].contestant == found.rows[0].contestant
    assert [str(row.contestant) for row in found.rows[:3]] == [
        "naive, ort-cpu, batch 1, 1 thread",
        "tiny, torch, batch 1, 1 thread",
        "tiny, ort-cpu, batch 1, 1 thread",
    ]
    assert all(row.error < 1e-5 for row in found.rows)
    assert all(row.latency.n > 0 for row in found.rows)
    assert found.method.processes == "one"
    assert not found.interrupted


def test_a_row_says_what_share_of_the_machine_it_reaches(bundle, cheap_peaks):
    (row,) = nd_deploy.profile(bundle, batches=(5,), method=QUICK, layers=True).rows
    # A 1 x 1 convolution of 3 channels to 4, and a Relu, on five images of 4 x 4; the bias is where
    # its sums begin.
    positions = 5 * 4 * 4
    assert row.usage.flops == positions * 4 * 2 * 3 + positions * 4
    assert row.usage.bytes == 4 * (positions * (3 + 4) + 4 * 3 + 4)
    assert row.usage.of_gemm == pytest.approx(row.usage.flops / 1e12 / row.latency.p50)
    assert "0" in {layer.nd_layer for layer in row.layers}
    assert sum(layer.flops or 0 for layer in row.layers) == row.usage.flops


def test_what_cannot_share_a_process_gets_one_each(bundle, monkeypatch):
    monkeypatch.setattr(run, "why_apart", lambda jobs: "for this test")
    lines = []
    found = nd_deploy.profile(
        bundle, against=[bundle / "model.onnx"], method=QUICK, layers=True, peaks=False,
        report=lines.append,
    )  # fmt: skip
    assert "every contestant gets a process of its own: for this test" in lines
    assert found.method.processes == "each"
    assert [row.memory.keys() for row in found.rows] == [{"host", "process"}] * 2
    assert all(row.error < 1e-5 for row in found.rows)
    assert all("0" in {layer.nd_layer for layer in row.layers} for row in found.rows)


def interrupt_at(text):
    def report(line):
        if text in line:
            raise KeyboardInterrupt

    return report


def test_ctrl_c_in_a_later_batch_keeps_the_earlier_ones(bundle):
    found = nd_deploy.profile(
        bundle, batches=(1, 2), method=QUICK, peaks=False, report=interrupt_at("batch 2:")
    )
    assert [row.contestant.batch for row in found.rows] == [1]
    assert found.interrupted
    assert "interrupted" in [remark.kind for remark in found.remarks]


def test_ctrl_c_after_all_rounds_keeps_all_rows(bundle):
    found = nd_deploy.profile(
        bundle, batches=(1, 2), method=QUICK, layers=True, peaks=False,
        report=interrupt_at("timing the layers of tiny, ort-cpu, batch 2"),
    )  # fmt: skip
    assert [bool(row.layers) for row in found.rows] == [True, False]
    assert found.interrupted


def test_ctrl_c_before_anything_was_measured_ends_it(bundle):
    with pytest.raises(KeyboardInterrupt):
        nd_deploy.profile(bundle, method=QUICK, report=interrupt_at("round 1 of"))


def test_nothing_is_opened_where_something_is_refused(bundle):
    with pytest.raises(InputError, match="--rounds is 0"):
        nd_deploy.profile(bundle, method=Method(rounds=0))
    with pytest.raises(InputError, match="there is no runtime 'x'"):
        nd_deploy.profile(bundle, runtimes=("x",))


def test_the_figures_are_those_of_the_samples(bundle):
    (row,) = nd_deploy.profile(bundle, method=QUICK, peaks=False).rows
    assert row.latency.p50 == pytest.approx(
        np.median([t for opening in row.metrics["latency"].rounds for t in opening]), rel=0.5
    )
    assert row.throughput == pytest.approx(1 / row.latency.mean)
