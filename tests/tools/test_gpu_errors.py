"""The comparison of the kernels with PyTorch, tried out on kernels that are built for the CPU."""

from dataclasses import replace

import pytest
import torch
from gpu.cases import resnet18_layers
from gpu.error_cases import DYNAMIC, FROZEN, LAYERS, SMALL, Cases, WhiteningCase
from gpu.library import Library, LibraryError
from gpu.part_errors import Bench, figures, judged, placed
from gpu.parts import PartFailed

CPU = torch.device("cpu")


@pytest.fixture(scope="session")
def bench(library):
    return Bench(library, CPU, CPU)


def test_every_op_and_type_is_compared_and_right(bench):
    rows = judged(bench, SMALL)
    assert {row["op"] for row in rows} == {
        "NDChannelDeconv",
        "NDChannelDeconvRelu",
        "NDChannelDeconvLeftover",
        "NDChannelDeconvLeftoverRelu",
        "NDChannelDeconvDynamic",
        "NDFastDeconvDynamic",
    }
    assert {row["dtype"] for row in rows} == {"float32", "float16", "bfloat16"}
    assert {row["status"] for row in rows} == {"ok"}
    cases = len(SMALL.frozen) * 2 + len(SMALL.dynamic) + len(SMALL.layers) * 2
    assert len(rows) == 3 * cases


def test_a_kernel_that_is_wrong_and_one_that_fails_are_told_apart(bench, monkeypatch):
    whitening = WhiteningCase((2, 4, 3), 2)
    cases = Cases((whitening,), (WhiteningCase((2, 4, 3, 3), 2),), ())

    def double(x, parameters, y, relu):
        y.copy_(2 * x)

    def fail(*_):
        raise LibraryError("nd_channel_deconv_dynamic returns 700: an illegal access")

    monkeypatch.setattr(bench.library, "channel_deconv", double)
    monkeypatch.setattr(bench.library, "channel_deconv_dynamic", fail)
    with pytest.raises(
        PartFailed, match=r"9 of 9 are wrong.*NDChannelDeconv 2x4x3, block 2 fl"
    ) as e:
        judged(bench, cases)
    assert [row["status"] for row in e.value.rows[:3]] == ["wrong", "wrong", "failed"]
    assert "illegal access" in e.value.rows[2]["reason"]


def test_a_misaligned_tensor_starts_one_element_behind_an_aligned_one():
    values = torch.arange(6.0).view(1, 2, 3)
    case = WhiteningCase((1, 2, 3), 2)
    assert placed(values, case, CPU).data_ptr() % 64 == 0
    shifted = placed(values, replace(case, misaligned=True), CPU)
    assert shifted.data_ptr() % 64 == 4
    assert shifted.is_contiguous()
    torch.testing.assert_close(shifted, values)


def test_cases_reach_what_networks_have_and_tests_ask_for():
    assert any(case.shape[0] == 0 for case in FROZEN)
    for cases in (FROZEN, DYNAMIC):
        assert any(case.left_over for case in cases)
        assert any(case.misaligned for case in cases)
        assert len(set(cases)) == len(cases)
    # Both ways through the kernels: matrices of up to 64 features, and larger ones.
    assert {case.shape.features <= 64 for case in SMALL.layers} == {True, False}
    assert {case.shape.groups for case in LAYERS} >= {1, 2, 32, 96}
    assert any(case.shape.dilation == (2, 2) for case in LAYERS)


def test_arguments_that_the_library_refuses_are_an_error_in_its_words(library):
    x = torch.zeros(1, 5, 2)
    parameters = [torch.zeros(2), torch.eye(2)]
    with pytest.raises(LibraryError, match=r"nd_channel_deconv returns -4: .*left over"):
        library.channel_deconv(x, parameters, torch.empty_like(x))


def test_a_library_of_something_else_is_named(tmp_path, monkeypatch):
    import ctypes

    monkeypatch.setattr(ctypes, "CDLL", lambda path: object())
    with pytest.raises(LibraryError, match=r"other\.so has no function nd_channel_deconv"):
        Library("other.so")


def test_errors_are_relative_to_the_largest_value_and_nan_is_the_worst():
    truth = torch.tensor([4.0, 0.0], dtype=torch.float64)
    found = figures(torch.tensor([4.0, 1.0]), truth.float(), truth)
    assert found["error"] == 0.25
    assert found["rms"] == pytest.approx(0.25 / 2**0.5)
    assert found["pytorch"] == found["pytorch rms"] == 0
    assert found["status"] == "wrong"
    wrong = figures(torch.tensor([4.0, torch.nan]), truth.float(), truth)
    assert wrong["error"] == float("inf")
    nothing = torch.zeros(0, 3)
    assert figures(nothing, nothing, nothing.double())["status"] == "ok"


def test_a_layer_on_another_batch_keeps_the_rest():
    case = next(each for each in resnet18_layers() if each.name == "layer1.0.conv1")
    assert replace(case.shape, batch=7).samples == 7 * 19 * 19
