"""The frozen ChannelDeconv kernels, against float64 and against PyTorch's own float32."""

from __future__ import annotations

import re
import subprocess

import emulated
import numpy as np
import pytest
from channel_deconv_cases import CASES, LEFTOVER, Case, exact, make
from emulated import Order
from kernel_calls import (
    TYPES,
    Kernels,
    filled,
    float32,
    nvcc_or_skip,
)

SOURCES = ("channel_deconv.cu", "errors.cpp")
# Half of the distance between neighbouring numbers, relative, and the smallest number.
ROUNDING = {"float32": 0.0, "float16": 2.0**-11, "bfloat16": 2.0**-8}
SMALLEST = {"float32": 0.0, "float16": 2.0**-24, "bfloat16": 0.0}


def run(kernels: Kernels, case: Case, inputs: dict[str, np.ndarray]) -> np.ndarray:
    x = filled(inputs["x"].shape, inputs["x"].dtype, case.misaligned)
    x[...] = inputs["x"]
    return kernels.channel_deconv(
        x, inputs["mean"], inputs["deconv"], LEFTOVER, relu=case.relu, misaligned=case.misaligned
    )


def assert_close(y: np.ndarray, case: Case, inputs: dict[str, np.ndarray], name: str) -> None:
    expected, size = exact(**inputs, relu=case.relu)
    allowed = ROUNDING[name] * np.abs(expected) + SMALLEST[name] + 2.0**-21 * size
    excess = np.abs(y.astype(np.float64) - expected) - allowed
    assert excess.max(initial=0) <= 0


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_shape_and_type_equals_float64_up_to_the_types_rounding(kernels, case, name):
    inputs = make(case, TYPES[name])
    assert_close(run(kernels, case, inputs), case, inputs, name)


@pytest.mark.parametrize("name", TYPES)
def test_gpus_without_such_tensor_cores_compute_the_same(emulation, name):
    for case in (CASES[0], CASES[1], CASES[4]):
        inputs = make(case, TYPES[name])
        with emulation.library.compute_capability(75):
            y = run(emulation, case, inputs)
        assert_close(y, case, inputs, name)


@pytest.mark.parametrize("block", [32, 48, 64, 128, 300])
def test_float32_is_no_less_accurate_than_pytorch(kernels, block):
    import torch

    case = Case(2, block, 96, block)
    inputs = make(case, np.float32, offset=2.0)
    expected, _ = exact(**inputs)
    centred = torch.from_numpy(inputs["x"]) - torch.from_numpy(inputs["mean"])[:, None]
    pytorch = (torch.from_numpy(inputs["deconv"]) @ centred).numpy()
    errors = [np.abs(y - expected) for y in (run(kernels, case, inputs), pytorch)]
    assert errors[0].max() <= errors[1].max()
    assert np.sqrt((errors[0] ** 2).mean()) <= np.sqrt((errors[1] ** 2).mean())


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_16_bit_results_are_rounded_once_even_far_from_zero(kernels, name):
    case = Case(1, 64, 64, 64)
    inputs = make(case, TYPES[name], offset=16.0)
    expected, _ = exact(**inputs)
    y = run(kernels, case, inputs).astype(np.float64)
    # A result on the other side of a midpoint between two numbers may go the other way.
    assert (np.abs(y - expected) <= ROUNDING[name] * np.abs(expected) * 1.02 + 2e-4).all()
    rounded = expected.astype(np.float32).astype(TYPES[name]).astype(np.float64)
    assert (y == rounded).mean() > 0.98


def test_float32_keeps_what_a_large_mean_leaves(kernels):
    case = Case(1, 64, 32, 64)
    inputs = make(case, np.float32, offset=1000.0)
    expected, _ = exact(**inputs)
    y = run(kernels, case, inputs)
    assert np.abs(y - expected).max() < 1e-5


@pytest.mark.parametrize("exponent", [-30, 0, 30])
def test_float16_takes_a_deconv_of_any_scale(kernels, exponent):
    case = Case(1, 64, 64, 64)
    inputs = make(case, np.float16)
    inputs["x"] = (inputs["x"] * np.float16(2.0 ** min(0, -exponent / 3))).astype(np.float16)
    rows = np.where(np.arange(64) % 2, 1.0, 2.0**-exponent)
    inputs["deconv"] = float32(inputs["deconv"] * 2.0 ** (exponent / 2) * rows[:, None])
    expected, size = exact(**inputs)
    y = run(kernels, case, inputs).astype(np.float64)
    fits = np.abs(expected) < 65000
    allowed = 2.0**-11 * np.abs(expected) + 2.0**-24 + 2.0**-21 * size
    assert (np.abs(y - expected) <= allowed)[fits].all()
    assert fits.any()


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("block", [16, 130])
def test_nan_stays_nan_in_its_column_and_nowhere_else(kernels, name, relu, block):
    case = Case(2, block + 2, 5, block, relu)
    inputs = make(case, TYPES[name])
    inputs["x"][1, 3, 2] = np.nan
    inputs["x"][0, block + 1, 4] = np.nan
    y = run(kernels, case, inputs).astype(np.float64)
    expected = np.zeros(y.shape, bool)
    expected[1, :block, 2] = True
    expected[0, block + 1, 4] = True
    np.testing.assert_array_equal(np.isnan(y), expected)


@pytest.mark.parametrize("name", TYPES)
def test_infinity_leaves_nothing_finite_in_its_column(kernels, name):
    case = Case(1, 32, 4, 32)
    inputs = make(case, TYPES[name])
    inputs["x"][0, 3, 2] = np.inf
    y = run(kernels, case, inputs).astype(np.float64)
    assert not np.isfinite(y[0, :, 2]).any()
    assert np.isfinite(np.delete(y, 2, axis=2)).all()


def test_an_identity_gives_back_what_subtracting_the_mean_gives(kernels):
    case = Case(1, 64, 32, 64)
    inputs = make(case, np.float32)
    inputs["deconv"] = np.eye(64, dtype=np.float32)
    np.testing.assert_array_equal(run(kernels, case, inputs), inputs["x"] - inputs["mean"][:, None])


def test_more_images_than_a_grid_dimension_counts(kernels):
    case = Case(70000, 1, 1, 1)
    inputs = make(case, np.float32)
    assert_close(run(kernels, case, inputs), case, inputs, "float32")


@pytest.mark.parametrize("shape", [(0, 64, 9), (3, 64, 0), (3, 0, 9)])
def test_an_empty_tensor_is_no_error(kernels, shape):
    y = kernels.channel_deconv(
        np.empty(shape, np.float32), np.zeros(64, np.float32), np.eye(64, dtype=np.float32)
    )
    assert y.shape == shape


@pytest.mark.parametrize("order", [Order.REVERSE, Order.RANDOM])
@pytest.mark.parametrize("name", TYPES)
def test_the_result_does_not_depend_on_the_order_of_threads(emulation, name, order):
    for case in (CASES[1], CASES[3], CASES[6], CASES[12]):
        inputs = make(case, TYPES[name])
        forward = run(emulation, case, inputs)
        with emulation.library.order(order, seed=7):
            other = run(emulation, case, inputs)
        np.testing.assert_array_equal(
            forward.astype(np.float32), other.astype(np.float32), strict=True
        )


SANITIZED = """
import sys
import emulated, numpy as np
from channel_deconv_cases import CASES, make, exact, LEFTOVER
from kernel_calls import TYPES, HostMemory, Kernels, filled

kernels = Kernels(emulated.Library(sys.argv[1]), HostMemory())
for case in CASES:
    for name, dtype in TYPES.items():
        inputs = make(case, dtype)
        for capability in (75, 90):
            if capability == 75 and case.positions > 100:
                continue
            with kernels.library.compute_capability(capability):
                x = filled(inputs["x"].shape, dtype, case.misaligned)
                x[...] = inputs.pop("x") if "x" in inputs else x
                inputs["x"] = x
                y = kernels.channel_deconv(**inputs, leftover=LEFTOVER, relu=case.relu,
                                           misaligned=case.misaligned).astype(np.float64)
            expected, size = exact(**inputs, relu=case.relu)
            assert (np.abs(y - expected) <= 2.0**-7 * (np.abs(expected) + size)).all(), case
"""


def test_nothing_outside_of_the_tensors_is_touched_and_large_problems_are_cut_up(tmp_path_factory):
    library = emulated.build(
        tmp_path_factory, *SOURCES, sanitize=True, flags=["-DND_MOST_COLUMNS=64"]
    )
    emulated.run_sanitized(library, SANITIZED)


def call_with(kernels: Kernels, **changes: object) -> int:
    arrays = {
        name: filled((4096,), np.float32)
        for name in ("x", "mean", "deconv", "leftover_mean", "leftover_scale", "y")
    }
    arguments: dict[str, object] = {name: a.ctypes.data for name, a in arrays.items()}
    arguments |= {"type": 0, "batch": 1, "channels": 7, "positions": 4, "block": 3, "relu": 0}
    arguments |= changes
    return int(kernels.library.functions.nd_channel_deconv(*arguments.values(), None))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"type": 3}, "type"),
        ({"type": -1}, "type"),
        ({"block": 0}, "out of range"),
        ({"batch": -1}, "out of range"),
        ({"batch": 2**40, "channels": 2**40}, "out of range"),
        ({"x": None}, "null"),
        ({"y": None}, "null"),
        ({"deconv": None}, "null"),
        ({"leftover_mean": None}, "left over"),
        ({"leftover_scale": None}, "left over"),
    ],
    ids=str,
)
def test_senseless_arguments_are_refused_in_words(emulation, changes, words):
    code = call_with(emulation, **changes)
    assert code < 0
    assert words in emulation.library.functions.nd_error_text(code).decode()


def test_what_is_not_needed_may_be_null(emulation):
    assert call_with(emulation, channels=6, leftover_mean=None, leftover_scale=None) == 0
    assert call_with(emulation, channels=2, mean=None, deconv=None) == 0


def test_the_compiler_keeps_everything_in_registers(tmp_path):
    command = [nvcc_or_skip(), "-std=c++17", "-arch=sm_90", "-Xptxas", "-v", "-c"]
    command += ["-o", str(tmp_path / "kernels.o"), str(emulated.CSRC / "channel_deconv.cu")]
    compiled = subprocess.run(command, capture_output=True, text=True)
    assert compiled.returncode == 0, compiled.stderr
    spills = re.findall(r"(\d+) bytes spill stores", compiled.stderr)
    assert spills
    assert set(spills) == {"0"}
