import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from nd_deploy.runtime import kernels

CONVOLUTIONS = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
TRANSPOSED = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}
MAX_POOLS = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}
AVERAGE_POOLS = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}

PROFILE = settings(max_examples=60, deadline=None, derandomize=True)


def tensor(seed, *shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def torch_pads(pads):
    """The order of functional.pad: the last dimension first."""
    return [side for pair in reversed(pads) for side in pair]


def assert_equal_up_to_rounding(found, expected):
    assert found.dtype == np.float64
    assert found.shape == tuple(expected.shape)
    np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=1e-12)


@st.composite
def windows(draw, dimensions=(1, 2, 3), dilated=True, pads_up_to=2):
    n = draw(st.sampled_from(dimensions))

    def each(low, high):
        return tuple(draw(st.integers(low, high)) for _ in range(n))

    kernel, strides = each(1, 3), each(1, 3)
    dilations = each(1, 2) if dilated else (1,) * n
    pads = tuple(
        (draw(st.integers(0, pads_up_to)), draw(st.integers(0, pads_up_to))) for _ in kernel
    )
    size = tuple(
        max(1, (k - 1) * d + 1 - sum(pad)) + draw(st.integers(0, 5))
        for k, d, pad in zip(kernel, dilations, pads, strict=True)
    )
    return kernel, strides, pads, dilations, size


class TestConvolve:
    @PROFILE
    @given(
        windows(),
        st.sampled_from([(1, 2, 3), (2, 2, 1), (4, 1, 1), (3, 1, 2), (1, 1, 1)]),
        st.integers(1, 3),
        st.booleans(),
    )
    def test_agrees_with_torch(self, window, grouping, batch, with_bias):
        kernel, strides, pads, dilations, size = window
        groups, inputs, outputs = grouping
        x = tensor(0, batch, groups * inputs, *size)
        w = tensor(1, groups * outputs, inputs, *kernel)
        b = tensor(2, groups * outputs) if with_bias else None
        expected = CONVOLUTIONS[len(kernel)](
            functional.pad(x, torch_pads(pads)), w, b, strides, 0, dilations, groups
        )
        found = kernels.convolve(
            x.numpy(), w.numpy(), None if b is None else b.numpy(), strides, pads, dilations, groups
        )
        assert_equal_up_to_rounding(found, expected)

    @pytest.mark.parametrize("kernel", [1, 3])
    @pytest.mark.parametrize("groups", [1, 2, 8])
    @pytest.mark.parametrize("window_bytes", [1, 20_000, 1 << 30])
    @pytest.mark.parametrize("size", [6, 20])
    def test_agrees_however_the_work_is_cut(self, monkeypatch, kernel, groups, window_bytes, size):
        monkeypatch.setattr(kernels, "_WINDOW_BYTES", window_bytes)
        x, w, b = (
            tensor(0, 3, 8, size, size),
            tensor(1, 8, 8 // groups, kernel, kernel),
            tensor(2, 8),
        )
        pad = kernel // 2
        expected = functional.conv2d(x, w, b, padding=pad, groups=groups)
        pads = ((pad, pad), (pad, pad))
        found = kernels.convolve(x.numpy(), w.numpy(), b.numpy(), (1, 1), pads, (1, 1), groups)
        assert_equal_up_to_rounding(found, expected)

    def test_a_transposed_input_is_read_as_it_is(self):
        x, w = tensor(0, 2, 20, 20, 3).permute(0, 3, 1, 2), tensor(1, 4, 3, 1, 1)
        found = kernels.convolve(x.numpy(), w.numpy(), None, (1, 1), ((0, 0),) * 2, (1, 1), 1)
        assert_equal_up_to_rounding(found, functional.conv2d(x, w))

    @pytest.mark.parametrize(
        ("shape", "kernel", "groups"),
        [
            ((1, 3, 5, 5), (4, 2, 1, 1), 1),
            ((1, 4, 5, 5), (3, 2, 1, 1), 2),
            ((1, 1, 2), (1, 1, 3), 1),
        ],
    )
    def test_shapes_that_do_not_fit_are_refused(self, shape, kernel, groups):
        ones = (1,) * (len(shape) - 2)
        with pytest.raises(ValueError, match=r"does not fit|smaller than a window"):
            kernels.convolve(
                np.ones(shape), np.ones(kernel), None, ones, ((0, 0),) * len(ones), ones, groups
            )


class TestConvolveTransposed:
    @PROFILE
    @given(
        windows(),
        st.sampled_from([(1, 2, 3), (2, 2, 1), (3, 1, 2)]),
        st.booleans(),
        st.integers(0, 2),
    )
    def test_agrees_with_torch(self, window, grouping, with_bias, more):
        kernel, strides, _, dilations, size = window
        groups, inputs, outputs = grouping
        half = [(k - 1) * d // 2 for k, d in zip(kernel, dilations, strict=True)]
        pads = tuple((h, max(h - 1, 0)) for h in half)
        added = tuple(min(more, max(s, d) - 1) for s, d in zip(strides, dilations, strict=True))
        x = tensor(0, 2, groups * inputs, *size)
        w = tensor(1, groups * inputs, outputs, *kernel)
        b = tensor(2, groups * outputs) if with_bias else None
        expected = functional.pad(
            TRANSPOSED[len(kernel)](x, w, b, strides, 0, added, groups, dilations),
            [-side for side in torch_pads(pads)],
        )
        found = kernels.convolve_transposed(
            x.numpy(),
            w.numpy(),
            None if b is None else b.numpy(),
            strides,
            pads,
            dilations,
            groups,
            added,
        )
        assert_equal_up_to_rounding(found, expected)

    def test_a_kernel_that_does_not_fit_is_refused(self):
        with pytest.raises(ValueError, match="does not fit"):
            kernels.convolve_transposed(
                np.ones((1, 3, 5)), np.ones((2, 1, 1)), None, (1,), ((0, 0),), (1,), 1, (0,)
            )


class TestPooling:
    @PROFILE
    @given(windows(pads_up_to=3))
    def test_the_largest_agrees_with_torch(self, window):
        kernel, strides, pads, dilations, size = window
        x = tensor(0, 2, 3, *size)
        padded = functional.pad(x, torch_pads(pads), value=-torch.inf)
        expected = MAX_POOLS[len(kernel)](padded, kernel, strides, 0, dilations)
        found = kernels.pool_max(x.numpy(), kernel, strides, pads, dilations, ceil=False)
        assert_equal_up_to_rounding(found, expected)

    @PROFILE
    @given(windows(dilated=False, pads_up_to=3), st.booleans())
    def test_the_mean_agrees_with_torch(self, window, count_pads):
        kernel, strides, pads, dilations, size = window
        pads = tuple((min(a, k - 1), min(b, k - 1)) for (a, b), k in zip(pads, kernel, strict=True))
        size = tuple(max(m, k) for m, k in zip(size, kernel, strict=True))
        x = tensor(0, 2, 3, *size)

        def sums(values):
            padded = functional.pad(values, torch_pads(pads))
            return AVERAGE_POOLS[len(kernel)](padded, kernel, strides)

        expected = sums(x) if count_pads else sums(x) / sums(torch.ones_like(x))
        found = kernels.pool_average(
            x.numpy(), kernel, strides, pads, dilations, ceil=False, count_pads=count_pads
        )
        assert_equal_up_to_rounding(found, expected)

    @pytest.mark.parametrize("size", range(3, 12))
    @pytest.mark.parametrize(
        ("kernel", "stride", "pad"), [(2, 2, 0), (3, 2, 1), (3, 3, 1), (2, 3, 1)]
    )
    def test_a_last_window_beyond_the_input_agrees_with_torch(self, size, kernel, stride, pad):
        x = tensor(0, 1, 2, size, size)
        both = {"stride": stride, "padding": pad, "ceil_mode": True}
        window = (kernel,) * 2, (stride,) * 2, ((pad, pad),) * 2, (1, 1)
        found = kernels.pool_max(x.numpy(), *window, ceil=True)
        assert_equal_up_to_rounding(found, functional.max_pool2d(x, kernel, **both))
        for count in (True, False):
            found = kernels.pool_average(x.numpy(), *window, ceil=True, count_pads=count)
            expected = functional.avg_pool2d(x, kernel, **both, count_include_pad=count)
            assert_equal_up_to_rounding(found, expected)

    def test_integers_stay_integers(self):
        x = np.array([[[-7, -3, -5]]], np.int8)
        found = kernels.pool_max(x, (2,), (2,), ((1, 0),), (1,), ceil=False)
        assert found.dtype == np.int8
        assert found.tolist() == [[[-7, -3]]]

    def test_an_input_smaller_than_the_window_is_refused(self):
        with pytest.raises(ValueError, match="smaller than a window"):
            kernels.pool_max(np.ones((1, 1, 2)), (3,), (1,), ((0, 0),), (1,), ceil=False)


def test_inputs_are_never_written_to():
    x, w, b = np.ones((1, 2, 4, 4)), np.ones((2, 2, 1, 1)), np.ones(2)
    for array in (x, w, b):
        array.flags.writeable = False
    unit = (1, 1), ((0, 0), (0, 0)), (1, 1)
    kernels.convolve(x, w, b, *unit, 1)
    kernels.convolve_transposed(x, w, b, *unit, 1, (0, 0))
    kernels.pool_max(x, (1, 1), *unit, ceil=False)
    kernels.pool_average(x, (1, 1), *unit, ceil=False, count_pads=False)
