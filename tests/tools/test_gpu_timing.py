"""What the suite times, tried out on kernels that are built for the CPU: do contestants agree?"""

from dataclasses import replace

import pytest
import torch
from gpu.cases import FastDeconvCase, FrozenCase, frozen_cases, resnet18_layers, shape_of
from gpu.clock import Contestant, host_seconds, in_turn, interleave, sets_of_buffers
from gpu.part_dynamic import (
    channel_deconv_calls,
    channel_deconv_figures,
    fast_deconv_calls,
    fast_deconv_figures,
    shape_bytes,
)
from gpu.part_frozen import case_bytes, contestants, frozen_row

from nd_deploy.nd.layers import FastDeconv

CPU = torch.device("cpu")


def test_frozen_contestants_compute_the_same(library, monkeypatch):
    case = FrozenCase(128, 3, 2, "float32")
    ys = []
    channel_deconv = library.channel_deconv
    monkeypatch.setattr(library, "channel_deconv", lambda *a: (channel_deconv(*a), ys.append(a[2])))
    calls = contestants(library, case, 1, CPU)
    assert set(calls) == {"plugin", "conv", "conv nhwc", "conv tf32", "body"}
    results = {name: call() for name, (call,) in calls.items()}
    (results["plugin"],) = ys
    for name, result in results.items():
        torch.testing.assert_close(result, results["body"], atol=1e-4, rtol=1e-4, msg=name)
    assert "conv tf32" not in contestants(library, replace(case, dtype="float16"), 1, CPU)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_fast_deconv_and_its_plugin_compute_the_same(library, dtype):
    layer = FastDeconv(8, 6, 3, stride=2, padding=1, block=4, sampling_stride=1)
    shape = shape_of(layer, 2, 9, 8)
    case = FastDeconvCase("layer", 1, layer.eps, shape)
    calls = fast_deconv_calls(library, case, shape, dtype, 2, CPU)
    with torch.no_grad():
        ours, theirs = calls["plugin launched"][1](), calls["eager"][1]()
        weight, _ = calls["body"][0]()
    tolerance = {"float32": 1e-4, "float16": 3e-2}[dtype]
    torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=tolerance)
    assert weight.dtype == ours.dtype == getattr(torch, dtype)


def test_a_channel_deconv_and_its_plugin_are_timed_to_the_end(library):
    calls = channel_deconv_calls(library, (2, 64, 3, 4), "float32", 1, CPU)
    timings = interleave(
        {name: in_turn(each) for name, each in calls.items()}, host_seconds, 2, block_seconds=1e-4
    )
    seconds = {name: timings.median(name) for name in timings.names}
    row = channel_deconv_figures((2, 64, 3, 4), "float32", seconds, "NVIDIA H200")
    assert row["plugin us"] > 0
    assert row["faster than eager"] == pytest.approx(seconds["eager"] / seconds["plugin launched"])
    torch.testing.assert_close(calls["eager"][0](), calls["body"][0](), atol=1e-4, rtol=1e-4)


def test_the_figures_of_a_frozen_case_follow_from_its_times():
    case = FrozenCase(64, 56, 32, "float32")
    assert case_bytes(case) == pytest.approx(51.4e6, rel=1e-3)
    seconds = {"plugin": 20e-6, "conv": 50e-6, "conv nhwc": 40e-6, "conv tf32": 1e-6, "body": 60e-6}
    row = frozen_row(case, seconds, 4e12, "NVIDIA H200")
    assert row["share of copy"] == pytest.approx(51.38e6 / 20e-6 / 4e12, rel=1e-3)
    # TF32 is another arithmetic, and the faster layout counts.
    assert row["faster than conv"] == pytest.approx(2.0)
    assert row["faster than body"] == pytest.approx(3.0)
    assert row["roofline us"] == pytest.approx(10.7, abs=0.05)
    assert "roofline us" not in frozen_row(case, seconds, 4e12, "an unknown one")


def test_the_figures_of_a_dynamic_layer_follow_from_its_times():
    (case,) = (each for each in resnet18_layers() if each.name == "layer1.0.conv1")
    assert case.layers == 4
    shape = replace(case.shape, batch=32)
    assert shape_bytes(shape, "float16") == 32 * 64 * 56 * 56 * 2
    seconds = {"plugin": 70e-6, "plugin launched": 100e-6, "body": 200e-6, "eager": 900e-6}
    row = fast_deconv_figures(shape, "float32", seconds, "NVIDIA H200")
    assert row["faster than eager"] == pytest.approx(9)
    # 19 us for the covariance, 14 for Newton-Schulz and a little for the weight.
    assert row["roofline tf32 us"] == pytest.approx(33.6, abs=0.5)
    assert row["over roofline tf32"] == pytest.approx(70 / row["roofline tf32 us"])


def test_resnet18_has_twenty_fast_deconvs_of_eleven_shapes():
    layers = resnet18_layers(64)
    assert sum(case.layers for case in layers) == 20
    assert len(layers) == 11
    assert layers[0].shape.n_iter == 15


def test_the_grid_covers_what_has_to_be_reached():
    cases = frozen_cases(quick=False)
    assert len(cases) == len(set(cases)) == 120
    assert {(c.channels, c.dtype) for c in cases if (c.size, c.batch) == (56, 32)} == {
        (channels, dtype)
        for channels in (64, 128, 256, 512, 1024)
        for dtype in ("float32", "float16")
    }
    assert set(frozen_cases(quick=True)) < set(cases)


def test_contestants_take_turns_and_are_timed_by_the_run():
    asked = []

    def measure(call, count):
        asked.append((call(), count))
        return {"slow": 2e-3, "fast": 1e-3}[call()] * count

    contestants = {
        "slow": Contestant(lambda: "slow"),
        "fast": Contestant(lambda: "fast", repeats=10),
    }
    timings = interleave(contestants, measure, rounds=4, block_seconds=4e-3)
    assert timings.median("slow") == pytest.approx(2e-3)
    assert timings.median("fast") == pytest.approx(1e-4)
    # Two calls to warm up, three to see how long one takes, then blocks of 4 ms.
    assert asked[:3] == [("slow", 2), ("slow", 3), ("slow", 2)]
    assert asked[3:6] == [("fast", 2), ("fast", 3), ("fast", 4)]
    turns = [name for name, _ in asked[6:]]
    assert turns == ["fast", "slow", "slow", "fast"] * 2


def test_calls_in_turn_go_round_their_buffers():
    done = []
    contestant = in_turn([lambda index=index: done.append(index) for index in range(3)])
    contestant.call()
    assert (done, contestant.repeats) == ([0, 1, 2], 3)
    assert host_seconds(contestant.call, 2) > 0
    assert len(done) == 9


def test_buffers_go_round_until_the_cache_has_forgotten_the_first():
    assert sets_of_buffers(50 << 20, 50 << 20) == 3
    assert sets_of_buffers(1 << 30, 50 << 20) == 2
    assert sets_of_buffers(1000, 50 << 20) == 24
