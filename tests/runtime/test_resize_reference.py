"""Resize of the float64 reference against PyTorch, and against onnx's own where that is slow."""

import time

import numpy as np
import pytest
import torch
from onnx import parser
from onnx.reference import ReferenceEvaluator
from torch.nn import functional

from nd_deploy.runtime import resizing
from nd_deploy.runtime.onnxruntime import OnnxRuntimeRunner
from nd_deploy.runtime.reference import ReferenceRunner

HEADER = '<ir_version: 10, opset_import: ["": 18]>\n'
MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}
# As torch.onnx writes them.
NEAREST = 'mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"'


def linear(layout):
    return f'mode="linear", coordinate_transformation_mode="{layout}"'


def model(attributes, rank, by="sizes", kind="double"):
    given = {"sizes": ("int64", "x, , , given"), "scales": ("float", "x, , given")}[by]
    before, after = (",".join(f"{name}{i}" for i in range(rank)) for name in "ab")
    return parser.parse_model(
        f"{HEADER}g ({kind}[{before}] x, {given[0]}[r] given) => ({kind}[{after}] y) "
        f"{{ y = Resize <{attributes}> ({given[1]}) }}"
    )


def resized(x, attributes, sizes=None, scales=None):
    by = "sizes" if scales is None else "scales"
    given = np.array(sizes) if scales is None else np.array(scales, np.float32)
    runner = ReferenceRunner(model(attributes, x.ndim, by))
    return runner.run({"x": x, "given": given})["y"]


def tensor(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((7,), (12,)),
        ((5, 9), (11, 4)),
        ((6, 6), (6, 3)),
        ((1, 8), (5, 1)),
        ((3, 4, 5), (7, 4, 2)),
        ((17, 17), (129, 129)),
    ],
    ids=str,
)
def test_linear_resizing_to_a_size_is_that_of_torch(before, after, align):
    x = tensor(2, 3, *before)
    expected = functional.interpolate(x, size=after, mode=MODES[len(before)], align_corners=align)
    layout = "align_corners" if align else "half_pixel"
    found = resized(x.numpy(), linear(layout), (2, 3, *after))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("before", "after"), [((7,), (14,)), ((5, 9), (15, 3)), ((2, 3, 4), (4, 3, 8))], ids=str
)
def test_nearest_resizing_to_a_size_is_that_of_torch(before, after):
    x = tensor(2, 3, *before)
    expected = functional.interpolate(x, size=after, mode="nearest").numpy()
    assert np.array_equal(resized(x.numpy(), NEAREST, (2, 3, *after)), expected)


@pytest.mark.parametrize("size", range(1, 40))
def test_a_nearest_position_is_never_rounded_below_a_whole_number(size):
    x = np.arange(size, dtype=np.float64)[None, None]
    for new_size in (1, 2, 3, 7, 10, 29, 41, 49, 82, 98, 107):
        found = resized(x, NEAREST, (1, 1, new_size))[0, 0]
        assert np.array_equal(found, np.arange(new_size) * size // new_size)


@pytest.mark.parametrize("scale", [2.0, 0.5, 1.7, 0.7, 3.3, 1 / 3, 2 / 3, 1.23457])
@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_a_scale_that_onnx_rounds_to_float32_is_the_one_that_was_written(mode, scale):
    x = tensor(1, 2, 10, 21)
    written = {
        "nearest": NEAREST,
        "bilinear": linear("half_pixel"),
        "bicubic": 'mode="cubic", coordinate_transformation_mode="half_pixel", cubic_coeff_a=-0.75',
    }
    options = {} if mode == "nearest" else {"align_corners": False}
    expected = functional.interpolate(x, scale_factor=scale, mode=mode, **options)
    found = resized(x.numpy(), written[mode], scales=(1, 1, scale, scale))
    np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=1e-13)


def test_aligned_corners_follow_the_size_and_not_the_scale_it_was_rounded_from():
    x = tensor(1, 2, 5, 7)
    both = {"mode": "bilinear", "align_corners": True}
    expected = functional.interpolate(x, scale_factor=1.7, **both).numpy()
    found = resized(x.numpy(), linear("align_corners"), scales=(1, 1, 1.7, 1.7))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13)
    runner = OnnxRuntimeRunner(model(linear("align_corners"), 4, "scales", "float"))
    feeds = {"x": x.float().numpy(), "given": np.array([1, 1, 1.7, 1.7], np.float32)}
    np.testing.assert_allclose(runner.run(feeds)["y"], expected, rtol=0, atol=1e-5)


def test_a_map_of_one_pixel_is_widened_to_a_constant_exactly():
    x = tensor(2, 5, 1, 1).numpy()
    for attributes in (linear("half_pixel"), linear("align_corners"), NEAREST):
        found = resized(x, attributes, (2, 5, 9, 4))
        assert np.array_equal(found, np.broadcast_to(x, (2, 5, 9, 4)))


LAYOUTS = ("half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("sizes", [(1, 2, 6, 3), (1, 2, 2, 1), (1, 2, 3, 5)], ids=str)
def test_every_layout_of_linear_resizing_is_that_of_onnxs_own_evaluator(layout, sizes):
    x = tensor(1, 2, 3, 4).numpy()
    feeds = {"x": x, "given": np.array(sizes)}
    whole = linear(layout)
    (expected,) = ReferenceEvaluator(model(whole, 4)).run(None, feeds)
    np.testing.assert_allclose(resized(x, whole, sizes), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    "attributes",
    [
        'mode="linear", antialias=1',
        'mode="linear", exclude_outside=1',
        'mode="linear", coordinate_transformation_mode="half_pixel_symmetric"',
        'mode="nearest", nearest_mode="round_prefer_ceil"',
        'mode="linear", keep_aspect_ratio_policy="not_larger"',
    ],
)
def test_what_torch_does_not_export_is_left_to_onnxs_own_evaluator(attributes):
    x = tensor(1, 2, 5, 4).numpy()
    feeds = {"x": x, "given": np.array([1, 2, 3, 3])}
    (expected,) = ReferenceEvaluator(model(attributes, 4)).run(None, feeds)
    np.testing.assert_allclose(resized(x, attributes, (1, 2, 3, 3)), expected, atol=1e-13)


def test_axes_may_be_named_and_the_roi_is_ignored():
    text = (
        f"{HEADER}g (double[a,b,c,d] x, double[n] roi, int64[2] sizes) => (double[e,f,g,h] y) "
        f"{{ y = Resize <{linear('half_pixel')}, axes=[-2, 3]> (x, roi, , sizes) }}"
    )
    x = tensor(2, 3, 4, 5)
    feeds = {"x": x.numpy(), "roi": np.zeros(0), "sizes": np.array([8, 3])}
    found = ReferenceRunner(parser.parse_model(text)).run(feeds)["y"]
    expected = functional.interpolate(x, size=(8, 3), mode="bilinear", align_corners=False)
    np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=1e-13)


def test_integers_and_float32_keep_their_dtype():
    text = model(NEAREST, 3, kind="int32")
    feeds = {"x": np.arange(6, dtype=np.int32).reshape(1, 2, 3), "given": np.array([1, 2, 6])}
    found = ReferenceRunner(text).run(feeds)["y"]
    assert found.dtype == np.int32
    assert found[0, 0].tolist() == [0, 0, 1, 1, 2, 2]
    single = ReferenceRunner(model(linear("half_pixel"), 3, kind="float"), dtype=np.float32)
    found = single.run({"x": np.ones((1, 2, 3), np.float32), "given": np.array([1, 2, 6])})["y"]
    assert found.dtype == np.float32


def test_inputs_are_never_written_to():
    x = np.ones((1, 2, 4, 4))
    x.flags.writeable = False
    for read in (resizing.read_linear, resizing.read_nearest):
        read(x, 3, resizing.positions("half_pixel", 4, 7))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((2, 21, 17, 17), (2, 21, 129, 129)),
        ((2, 256, 1, 1), (2, 256, 65, 65)),
        ((2, 64, 65, 65), (2, 64, 129, 129)),
    ],
    ids=str,
)
def test_the_maps_of_a_segmentation_network_take_well_under_a_second(before, after):
    x = tensor(*before).numpy()
    start = time.process_time()
    resized(x, linear("half_pixel"), after)
    assert time.process_time() - start < 0.5
