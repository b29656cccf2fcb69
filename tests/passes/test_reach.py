"""What a ChannelDeconv passes on its way to the layers that it folds into, and what stops it."""

import pytest
from graphs import parse, rewrite

from nd_deploy.passes.base import Refusal
from nd_deploy.passes.model import load
from nd_deploy.passes.push_channel_deconv import PushChannelDeconv
from nd_deploy.passes.reach import Channels, reach

MAP = "float[2] mu, float[2,2] D"
AXES = "axes = Constant <value_ints=[{}]> ()"


def push(between, end, parameters="float half", **options):
    """A ChannelDeconv on (N, 4, 6, 6), what is between, and what reads b in the end."""
    return rewrite(
        f"""(float[N,4,6,6] x, float[N,3,6,6] z) => (float[] y) <{MAP}, {parameters}>
        {{ a = nd_deploy.NDChannelDeconv(x, mu, D) {between} y = {end} }}""",
        PushChannelDeconv(),
        **options,
    )


def into_conv(between, channels=4, taps="1,1", **options):
    return push(
        between,
        "Conv(b, weight, bias)",
        f"float[5,{channels},{taps}] weight, float[5] bias",
        **options,
    )


def into_gemm(between, features, **options):
    parameters = f"float[5,{features}] weight, float[5] bias"
    return push(between, "Gemm <transB=1> (b, weight, bias)", parameters, **options)


def stopped(between, **options):
    """Why a ChannelDeconv does not get past `between`."""
    found = push(between, "Abs(b)", **options)
    assert found.ops[0] == "NDChannelDeconv"
    return found.refusal.removeprefix("forward: ").partition(";")[0]


@pytest.mark.parametrize(
    "attributes",
    [
        "kernel_shape=[2,2], strides=[2,2]",
        "kernel_shape=[3,3], pads=[1,1,1,1]",
        "kernel_shape=[3,3], pads=[0,1,2,0], count_include_pad=0",
        "kernel_shape=[4,4], strides=[4,4], ceil_mode=1",
        'kernel_shape=[3,3], auto_pad="SAME_UPPER"',
        'kernel_shape=[3,3], auto_pad="VALID", count_include_pad=1',
        "kernel_shape=[2,2], count_include_pad=1",
    ],
)
def test_average_pooling_that_counts_no_padding_is_passed(attributes):
    assert into_conv(f"b = AveragePool <{attributes}> (a)").ops == ["AveragePool", "Conv"]


@pytest.mark.parametrize(
    "attributes",
    [
        "kernel_shape=[3,3], pads=[1,1,1,1]",
        "kernel_shape=[3,3], pads=[0,0,1,0]",
        "kernel_shape=[4,4], strides=[4,4], ceil_mode=1",
        'kernel_shape=[3,3], auto_pad="SAME_LOWER"',
    ],
)
def test_average_pooling_that_counts_padding_stops_it(attributes):
    reason = stopped(f"[pool] b = AveragePool <{attributes}, count_include_pad=1> (a)")
    assert reason == "AveragePool pool counts padding in its averages"


def test_global_average_pooling_is_passed():
    assert into_conv("b = GlobalAveragePool(a)").ops == ["GlobalAveragePool", "Conv"]


@pytest.mark.parametrize("axes", ["2,3", "-1,-2", "3"])
def test_a_mean_over_positions_is_passed(axes):
    found = into_conv(f"{AXES.format(axes)} b = ReduceMean(a, axes)")
    assert found.ops == ["ReduceMean", "Conv"]


def test_a_mean_over_positions_that_drops_them_is_passed():
    found = into_gemm(f"{AXES.format('2,3')} b = ReduceMean <keepdims=0> (a, axes)", 4)
    assert found.ops == ["ReduceMean", "Gemm"]


def test_a_mean_whose_axes_are_an_attribute_is_passed():
    found = into_conv("b = ReduceMean <axes=[2,3]> (a)", opset=17)
    assert found.ops == ["ReduceMean", "Conv"]


@pytest.mark.parametrize(
    "mean",
    [
        f"{AXES.format('1')} [mean] b = ReduceMean(a, axes)",
        f"{AXES.format('0,2,3')} [mean] b = ReduceMean(a, axes)",
        f"{AXES.format('-3')} [mean] b = ReduceMean(a, axes)",
        "[mean] b = ReduceMean(a)",
    ],
)
def test_a_mean_over_channels_or_samples_stops_it(mean):
    assert stopped(mean) == "ReduceMean mean averages over more than positions"


SCALES = "scales = Constant <value_floats=[{}]> ()"


@pytest.mark.parametrize(
    "attributes",
    [
        'mode="nearest"',
        'mode="linear"',
        'mode="linear", coordinate_transformation_mode="align_corners"',
        'mode="linear", antialias=1',
    ],
)
def test_interpolation_is_passed(attributes):
    found = into_conv(
        f"{SCALES.format('1.0, 1.0, 2.0, 1.5')} b = Resize <{attributes}> (a, , scales)"
    )
    assert found.ops == ["Resize", "Conv"]


@pytest.mark.parametrize(
    ("mode", "scales", "reason"),
    [
        ("cubic", "1.0, 1.0, 2.0, 2.0", "does not interpolate with weights that sum to one"),
        ("nearest", "1.0, 2.0, 1.0, 1.0", "changes the channel axis"),
    ],
)
def test_other_resizing_stops_it(mode, scales, reason):
    resize = f'[up] b = Resize <mode="{mode}"> (a, , scales)'
    assert stopped(f"{SCALES.format(scales)} {resize}") == f"Resize up {reason}"


def test_cropping_while_resizing_stops_it():
    reason = stopped(
        f"""roi = Constant <value_floats=[0.0, 0.0, -0.5, 0.0, 1.0, 1.0, 1.5, 1.0]> ()
        {SCALES.format("1.0, 1.0, 2.0, 2.0")}
        [up] b = Resize <mode="linear", coordinate_transformation_mode="tf_crop_and_resize">
            (a, roi, scales)"""
    )
    assert reason == "Resize up does not interpolate with weights that sum to one"


def test_a_resize_that_reads_it_as_its_region_stops_it():
    reason = stopped(
        f"""{SCALES.format("1.0, 1.0, 2.0, 2.0")}
        [up] b = Resize <mode="linear", coordinate_transformation_mode="tf_crop_and_resize">
            (x, a, scales)""",
        runs=False,
    )
    assert reason == "Resize up reads the tensor as a parameter"


CUT = """from = Constant <value_ints=[1, 0]> () to = Constant <value_ints=[5, 6]> ()
    step = Constant <value_ints=[2, 1]> ()"""


def test_a_cut_of_positions_and_every_other_one_of_them_is_passed():
    found = into_conv(f"{CUT} {AXES.format('2, -1')} b = Slice(a, from, to, axes, step)")
    assert found.ops == ["Slice", "Conv"]


@pytest.mark.parametrize(
    ("cut", "reason"),
    [
        (f"{AXES.format('1,2')} [cut] b = Slice(a, from, to, axes, step)", "cuts axis 0 or 1"),
        (f"{AXES.format('-4,2')} [cut] b = Slice(a, from, to, axes, step)", "cuts axis 0 or 1"),
        ("[cut] b = Slice(a, from, to)", "names no constant axes"),
    ],
)
def test_a_cut_of_channels_or_samples_stops_it(cut, reason):
    assert stopped(f"{CUT} {cut}") == f"Slice cut {reason}"


@pytest.mark.parametrize("axis", [1, -3])
@pytest.mark.parametrize(("order", "channels"), [("a, z", 7), ("z, a", 7), ("z, a, x", 11)])
def test_joined_channels_are_passed_in_their_place(axis, order, channels):
    found = into_conv(f"b = Concat <axis={axis}> ({order})", channels, "3,3")
    assert found.ops == ["Concat", "Conv"]


@pytest.mark.parametrize(
    ("join", "reason"),
    [
        ("Concat <axis=2> (a, x)", "Concat join does not join channels"),
        ("Concat <axis=1> (a, a)", "Concat join reads the tensor twice"),
    ],
)
def test_other_joins_stop_it(join, reason):
    assert stopped(f"[join] b = {join}") == reason


def test_a_neighbour_of_unknown_width_stops_it():
    found = rewrite(
        f"""(float[N,4,H,W] x, float[N,C,H,W] z) => (float[] y) <{MAP}>
        {{
            a = nd_deploy.NDChannelDeconv(x, mu, D)
            [join] b = Concat <axis=1> (z, a)
            y = Abs(b)
        }}""",
        PushChannelDeconv(),
        sizes={"C": 3},
    )
    assert "Concat join joins z of unknown width" in found.refusal


@pytest.mark.parametrize(
    "node",
    [
        "Relu(a)",
        "MaxPool <kernel_shape=[2,2]> (a)",
        "Add(a, x)",
        "Mul(a, half)",
        "Transpose <perm=[0,1,3,2]> (a)",
        "Identity(a)",
        "Dropout(a)",
    ],
)
def test_anything_else_stops_it(node):
    op = node.split()[0].split("(")[0]
    assert stopped(f"[op] b = {node}") == f"{op} op does not commute with mixing channels"


@pytest.mark.parametrize(
    ("output", "body"), [("a", "b = Relu(a)"), ("p", "p = GlobalAveragePool(a) b = Relu(p)")]
)
def test_an_output_of_the_model_on_the_way_stops_it(output, body):
    found = rewrite(
        f"""(float[N,4,6,6] x) => (float[] y, float[] {output}) <{MAP}>
        {{ a = nd_deploy.NDChannelDeconv(x, mu, D) {body} y = Abs(b) }}""",
        PushChannelDeconv(),
    )
    assert f"forward: {output} is an output of the model;" in found.refusal


def test_a_reader_inside_a_branch_stops_it():
    found = rewrite(
        f"""(float[N,4,H,W] x, bool positive) => (float[N,4,H,W] y)
        <{MAP}, float[4,4,1,1] weight>
        {{
            a = nd_deploy.NDChannelDeconv(x, mu, D)
            y = If (positive) <
                then_branch = one () => (float[N,4,H,W] b) {{ [conv] b = Conv(a, weight) }},
                else_branch = other () => (float[N,4,H,W] c) {{ c = Relu(x) }}
            >
        }}""",
        PushChannelDeconv(),
    )
    assert "Conv conv reads the tensor inside a subgraph" in found.refusal


def test_a_tensor_that_nothing_reads_is_refused():
    graph = load(parse("(float[N,4] x) => (float[N,4] y) { y = Relu(x) }"))
    (tensor,) = graph.nodes[0].outputs
    graph.outputs.clear()
    assert reach(graph, tensor, Channels(0, 4)) == Refusal("nothing reads y")
