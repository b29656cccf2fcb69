"""A ChannelDeconv followed through nodes that only change how its channels lie in the tensor."""

import pytest
from graphs import rewrite

from nd_deploy.passes.push_channel_deconv import PushChannelDeconv

MAP = "float[2] mu, float[2,2] D"
SHAPE = "shape = Constant <value_ints=[{}]> ()"
AXES = "axes = Constant <value_ints=[{}]> ()"


def push(between, end, weight="1", source="float[N,4,6,6] x"):
    """A ChannelDeconv, what is between, and what reads b in the end."""
    return rewrite(
        f"""({source}, float[N,3,6,6] z) => (float[] y) <{MAP}, float[{weight}] w, float[5] bias>
        {{ a = nd_deploy.NDChannelDeconv(x, mu, D) {between} y = {end} }}""",
        PushChannelDeconv(),
    )


def into_gemm(between, features, **options):
    return push(between, "Gemm <transB=1> (b, w, bias)", f"5,{features}", **options)


def stopped(between, **options):
    """Why a ChannelDeconv does not get past `between`."""
    found = push(between, "Abs(b)", **options)
    assert found.ops[0] == "NDChannelDeconv"
    return found.refusal.removeprefix("forward: ").partition(";")[0]


@pytest.mark.parametrize("axis", [1, -3])
def test_flattening_is_passed_with_every_position_of_a_channel_in_its_place(axis):
    assert into_gemm(f"b = Flatten <axis={axis}> (a)", 144).ops == ["Flatten", "Gemm"]


@pytest.mark.parametrize(
    "reshape",
    [
        f"{SHAPE.format('0,-1')} b = Reshape(a, shape)",
        f"{SHAPE.format('-1,144')} b = Reshape(a, shape)",
        f"{SHAPE.format('0,144')} b = Reshape(a, shape)",
        f"{SHAPE.format('-1,144')} b = Reshape <allowzero=1> (a, shape)",
    ],
)
def test_a_reshape_that_flattens_is_passed(reshape):
    assert into_gemm(reshape, 144).ops == ["Reshape", "Gemm"]


@pytest.mark.parametrize("shape", ["3,-1", "3,144"])
@pytest.mark.parametrize("allowzero", [0, 1])
def test_a_reshape_that_names_the_batch_is_passed(shape, allowzero):
    reshape = f"{SHAPE.format(shape)} b = Reshape <allowzero={allowzero}> (a, shape)"
    found = into_gemm(reshape, 144, source="float[3,4,6,6] x")
    assert found.ops == ["Reshape", "Gemm"]


@pytest.mark.parametrize("padding", ["0,0,0,0", "1,0,1,0"])
@pytest.mark.parametrize(
    ("shape", "weight"),
    [("0,4,3,12", "5,4,3,1"), ("0,8,3,6", "5,8,3,3"), ("0,24,-1,2", "5,24,1,2")],
)
def test_positions_may_move_to_the_channels(shape, weight, padding):
    reshape = f"{SHAPE.format(shape)} b = Reshape(a, shape)"
    found = push(reshape, f"Conv <pads=[{padding}]> (b, w, bias)", weight)
    assert found.ops == (["Sub"] if "1" in padding else []) + ["Reshape", "Conv"]


def test_positions_may_be_flattened_in_two_steps():
    found = into_gemm(f"{SHAPE.format('0,12,4,3')} r = Reshape(a, shape) b = Flatten(r)", 144)
    assert found.ops == ["Reshape", "Flatten", "Gemm"]


def test_joined_channels_are_flattened_together():
    found = into_gemm("j = Concat <axis=1> (z, a) b = Flatten(j)", 252)
    assert found.ops == ["Concat", "Flatten", "Gemm"]


def test_features_in_front_need_not_be_multiples_of_the_positions():
    """Three features in front of 36 positions a channel."""
    pooled = "p = GlobalAveragePool(z) q = Flatten(p)"
    found = into_gemm(f"{pooled} r = Flatten(a) b = Concat <axis=1> (q, r)", 147)
    assert found.ops[-2:] == ["Concat", "Gemm"]


@pytest.mark.parametrize(
    "view",
    [
        f"{SHAPE.format('-1,72')} [view] b = Reshape(a, shape)",
        f"{SHAPE.format('6,-1')} [view] b = Reshape(a, shape)",
        "late = Shape(x) [view] b = Reshape(a, late)",
        "[view] b = Flatten <axis=2> (a)",
        "[view] b = Flatten <axis=0> (a)",
    ],
)
def test_a_reshape_that_may_move_samples_stops_it(view):
    assert stopped(view).endswith(" view may move samples, as far as the shapes tell")


def test_a_reshape_of_an_image_of_open_size_to_known_features_stops_it():
    view = f"{SHAPE.format('-1,36')} [view] b = Reshape(a, shape)"
    reason = stopped(view, source="float[N,4,H,6] x")
    assert reason == "Reshape view may move samples, as far as the shapes tell"


@pytest.mark.parametrize("shape", ["0,2,-1", "0,6,24"])
def test_a_reshape_that_splits_channels_stops_it(shape):
    reason = stopped(f"{SHAPE.format(shape)} [view] b = Reshape(a, shape)")
    assert reason == "Reshape view splits the channel axis"


def test_flattening_an_image_of_open_size_stops_it():
    reason = stopped("[view] b = Flatten(a)", source="float[N,4,H,W] x")
    assert reason == "Flatten view has a dynamic number of channels"


@pytest.mark.parametrize("axes", ["2,3", "-1,-2"])
def test_axes_of_one_position_may_be_dropped(axes):
    found = into_gemm(f"p = GlobalAveragePool(a) {AXES.format(axes)} b = Squeeze(p, axes)", 4)
    assert found.ops == ["GlobalAveragePool", "Squeeze", "Gemm"]


@pytest.mark.parametrize("axes", ["2,3", "-1,-2"])
def test_axes_of_one_position_may_be_added(axes):
    unsqueeze = f"{AXES.format(axes)} b = Unsqueeze(a, axes)"
    found = push(unsqueeze, "Conv(b, w, bias)", "5,4,1,1", source="float[N,4] x")
    assert found.ops == ["Unsqueeze", "Conv"]


@pytest.mark.parametrize("node", ["Unsqueeze(a, axes)", "Squeeze(a, axes)", "Squeeze(a)"])
def test_axes_in_front_of_the_channels_stop_it(node):
    view = f"{AXES.format(0)} [view] b = {node}"
    reason = stopped(view, source="float[1,4,6,6] x")
    assert reason == f"{node.split('(')[0]} view changes axes 0 or 1"
