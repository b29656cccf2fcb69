import pytest

from nd_deploy.bundle.manifest import TensorInfo
from nd_deploy.errors import InputError
from nd_deploy.runtime.tensorrt.profile import (
    Profile,
    Range,
    canonical,
    parse_batch,
    parse_shape,
)
from nd_deploy.runtime.tensorrt.shapes import make_profiles

IMAGE = TensorInfo("image", "float32", ("batch", 3, 8, 8))
FREE = TensorInfo("image", "float32", ("batch", 3, "height", "width"))
MASK = TensorInfo("mask", "float32", ("batch", 1, "height", "width"))
FIXED = TensorInfo("scale", "float32", (4, 2))


def batch(*sizes):
    return Range(*((size,) for size in sizes))


def test_a_batch_is_three_numbers_or_one_for_all_three():
    assert parse_batch("1:8:32") == ((1,), (8,), (32,))
    assert parse_batch("8") == ((8,), (8,), (8,))


def test_a_shape_is_three_shapes_or_one_for_all_three():
    assert parse_shape("a=1x3:2x3:4x3") == ("a", ((1, 3), (2, 3), (4, 3)))
    assert parse_shape("a=b=2X3") == ("a=b", ((2, 3), (2, 3), (2, 3)))


@pytest.mark.parametrize("text", ["", "x", "1:2", "1:2:3:4", "1x2", "1:2:", "1.5", "0:1:2", "-1"])
def test_what_is_no_batch_is_refused_by_its_flag(text):
    with pytest.raises(InputError, match=f"--batch {text}"):
        parse_batch(text)


@pytest.mark.parametrize("text", ["1x3", "=1x3", "a=", "a=1x3:1x3", "a=1:1x3:1x3", "a=1x0"])
def test_what_is_no_shape_is_refused_by_its_flag(text):
    with pytest.raises(InputError, match="--shape"):
        parse_shape(text)


@pytest.mark.parametrize("text", ["2:1:4", "1:4:2", "4:2:1"])
def test_sizes_out_of_order_are_refused(text):
    with pytest.raises(InputError, match=f"out of order: {text}"):
        parse_batch(text)
    smallest, usual, largest = text.split(":")
    with pytest.raises(InputError, match=f"out of order: {text}"):
        parse_shape(f"a=1x{smallest}:1x{usual}:1x{largest}")


def test_a_batch_fills_the_open_axis_of_every_input():
    other = TensorInfo("other", "float32", ("batch", 5))
    (profile,) = make_profiles([IMAGE, other, FIXED], [batch(1, 2, 4)])
    assert profile.shapes == {
        "image": ((1, 3, 8, 8), (2, 3, 8, 8), (4, 3, 8, 8)),
        "other": ((1, 5), (2, 5), (4, 5)),
    }


def test_a_batch_that_stands_elsewhere_is_filled_too():
    sequence = TensorInfo("sequence", "float32", (7, "batch"))
    (profile,) = make_profiles([IMAGE, sequence], [batch(1, 2, 4)])
    assert profile.shapes["sequence"] == ((7, 1), (7, 2), (7, 4))


def test_an_open_first_axis_without_a_name_is_a_batch():
    (profile,) = make_profiles([TensorInfo("a", "float32", ("?", 2))], [batch(1, 2, 4)])
    assert profile.shapes["a"].max == (4, 2)


def test_a_fixed_model_needs_no_profile():
    assert make_profiles([FIXED]) == ()


def test_a_shape_sets_every_axis():
    shapes = Range((1, 3, 8, 8), (2, 3, 16, 16), (4, 3, 32, 32))
    (profile,) = make_profiles([FREE], shapes=[("image", shapes)])
    assert profile.shapes == {"image": shapes}


def test_each_batch_makes_a_profile_and_one_shape_holds_for_all():
    shapes = Range((1, 3, 8, 8), (1, 3, 8, 8), (9, 3, 8, 8))
    other = TensorInfo("other", "float32", ("n", 3, 8, "width"))
    first, second = make_profiles(
        [IMAGE, other], [batch(1, 1, 1), batch(2, 4, 8)], [("other", shapes)]
    )
    assert first.shapes["image"].max[0] == 1
    assert second.shapes["image"].max[0] == 8
    assert first.shapes["other"] == second.shapes["other"] == shapes


def test_several_shapes_of_one_input_make_a_profile_each():
    small = Range((1, 3, 8, 8), (1, 3, 8, 8), (1, 3, 8, 8))
    large = Range((1, 3, 64, 64), (1, 3, 64, 64), (1, 3, 64, 64))
    profiles = make_profiles([FREE], shapes=[("image", small), ("image", large)])
    assert [profile.shapes["image"] for profile in profiles] == [small, large]


def refused(words, *arguments, **more):
    with pytest.raises(InputError) as caught:
        make_profiles(*arguments, **more)
    assert words in caught.value.problem
    return caught.value.remedy


def test_an_open_batch_without_a_range_is_refused():
    assert "--batch 1:8:32" in refused("the batch of input 'image'", [IMAGE])


def test_another_open_axis_without_a_range_is_refused_by_name():
    remedy = refused("axis 2 (height) of input 'image'", [FREE], [batch(1, 2, 4)])
    assert "--shape image=BATCHx3xHEIGHTxWIDTH" in remedy


def test_a_batch_for_a_fixed_model_is_refused():
    assert "--static-batch" in refused("the model's batch is fixed", [FIXED], [batch(1, 2, 4)])


def test_a_batch_for_a_model_with_other_open_axes_alone_is_refused():
    late = TensorInfo("late", "float32", (1, "length"))
    refused("the model's batch is fixed", [late], [batch(1, 2, 4)])


def test_a_shape_of_an_unknown_input_is_refused_and_the_inputs_are_named():
    shapes = Range((1,), (1,), (1,))
    assert "image (batch, 3, 8, 8)" in refused("'nope'", [IMAGE], shapes=[("nope", shapes)])


def test_a_shape_of_a_fixed_input_is_refused():
    shapes = Range((4, 2), (4, 2), (4, 2))
    refused("fixed at (4, 2)", [FIXED], shapes=[("scale", shapes)])
    refused("fixed at (4, 2)", [IMAGE, FIXED], [batch(1, 2, 4)], [("scale", shapes)])


def test_a_size_other_than_the_fixed_one_is_refused():
    shapes = Range((1, 3, 8, 8), (1, 4, 8, 8), (1, 4, 8, 8))
    refused("has 4 in axis 1, which the model fixes at 3", [FREE], shapes=[("image", shapes)])


def test_a_shape_of_another_rank_is_refused():
    shapes = Range((1, 8, 8), (1, 8, 8), (1, 8, 8))
    assert "BATCHx3xHEIGHTxWIDTH" in refused("3 axes", [FREE], shapes=[("image", shapes)])


def test_axes_of_one_name_have_one_range():
    image = Range((1, 3, 8, 8), (1, 3, 8, 8), (1, 3, 8, 16))
    mask = Range((1, 1, 8, 8), (1, 1, 8, 8), (1, 1, 8, 8))
    words = "axis 3 of input 'mask' is width, which input 'image' makes 8:8:16 and --shape 8:8:8"
    refused(words, [FREE, MASK], shapes=[("image", image), ("mask", mask)])


def test_a_batch_and_a_shape_that_differ_are_refused():
    shapes = Range((1, 3, 8, 8), (1, 3, 8, 8), (1, 3, 8, 8))
    refused("which --batch makes 1:2:4", [FREE], [batch(1, 2, 4)], [("image", shapes)])


def test_numbers_of_profiles_that_differ_are_refused():
    shapes = [("image", Range((1, 3, 8, 8), (1, 3, 8, 8), (1, 3, 8, 8)))] * 2
    batches = [batch(1, 1, 1)] * 3
    refused("--shape image is given 2 times for 3 profiles", [FREE], batches, shapes)


def test_profiles_are_written_the_same_in_any_order():
    a, b = Range((1,), (2,), (3,)), Range((1, 4), (1, 4), (1, 4))
    one, other = Profile({"a": a, "b": b}), Profile({"b": b, "a": a})
    text = "a=1:2:3,b=1x4:1x4:1x4"
    assert canonical([one, one]) == canonical([other, other]) == f"{text};{text}"
    assert Profile.from_dict(one.as_dict()) == one
