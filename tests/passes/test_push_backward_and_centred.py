"""A ChannelDeconv folded into the layer in front, or kept as the subtraction of its mean."""

import numpy as np
import pytest
from graphs import rewrite
from onnx import numpy_helper

from nd_deploy.passes.base import Action
from nd_deploy.passes.push_channel_deconv import PushChannelDeconv

MAP = "float[2] mu, float[2,2] D"
LEFTOVER = "float[3] mu, float[3,3] D, float[1] mean, float[1] var_scale"


def push(text, **options):
    return rewrite(text, PushChannelDeconv(), **options)


@pytest.mark.parametrize(
    "conv",
    [
        "Conv(x, weight, bias)",
        "Conv(x, weight)",
        "Conv <pads=[1,1,1,1], strides=[2,2]> (x, weight, bias)",
        'Conv <auto_pad="SAME_UPPER"> (x, weight, bias)',
    ],
)
@pytest.mark.parametrize("leftover", [False, True], ids=["whole", "leftover"])
def test_it_folds_into_the_convolution_in_front_whatever_its_padding(conv, leftover):
    op = "NDChannelDeconvLeftover(c, mu, D, mean, var_scale)"
    op = op if leftover else "NDChannelDeconv(c, mu, D)"
    found = push(
        f"""(float[N,3,H,W] x) => (float[N,4,h,w] y)
        <{LEFTOVER if leftover else MAP}, float[4,3,3,3] weight, float[4] bias>
        {{ [conv] c = {conv} [white] a = nd_deploy.{op} y = Relu(a) }}"""
    )
    assert found.ops == ["Conv", "Relu"]
    decision = found.decision
    assert (decision.action, decision.into) == (Action.BACKWARD, ("conv",))
    assert decision.reason == "Conv conv produces its input and nothing else reads it"


def test_the_certificate_of_a_fold_from_the_left_measures_from_the_left():
    found = push(
        f"""(float[N,3] x) => (float[N,4] y) <{MAP}, float[4,3] weight>
        {{ c = Gemm <transB=1> (x, weight) y = nd_deploy.NDChannelDeconv(c, mu, D) }}"""
    )
    before = {
        t.name: numpy_helper.to_array(t).astype(float) for t in found.before.graph.initializer
    }
    M = np.kron(before["D"], np.eye(2))
    folded = M @ before["weight"]
    np.testing.assert_allclose(found.initializer("weight"), folded, rtol=0, atol=1e-12)
    unfolded = np.linalg.inv(M) @ (folded - folded.astype(np.float32))
    expected = np.linalg.norm(unfolded) / np.linalg.norm(before["weight"])
    (certificate,) = found.decision.certificates
    assert certificate.storage_error == pytest.approx(expected)


@pytest.mark.parametrize(
    ("linear", "ops"),
    [
        ("c = Gemm <transB=1> (x, rows, bias)", ["Gemm", "Relu"]),
        ("c = Gemm <alpha=0.5, beta=2.0> (x, columns, bias)", ["Gemm", "Relu"]),
        ("c = MatMul(x, columns)", ["Gemm", "Relu"]),
        ("p = MatMul(x, columns) c = Add(p, bias)", ["MatMul", "Add", "Relu"]),
        ("p = MatMul(x, columns) c = Add(bias, p)", ["MatMul", "Add", "Relu"]),
    ],
)
def test_it_folds_into_the_linear_layer_in_front(linear, ops):
    found = push(
        f"""(float[N,3] x) => (float[N,4] y)
        <{MAP}, float[4,3] rows, float[3,4] columns, float[4] bias>
        {{ {linear} a = nd_deploy.NDChannelDeconv(c, mu, D) y = Relu(a) }}"""
    )
    assert found.ops == ops


def test_an_output_of_the_model_keeps_its_name():
    found = push(
        f"""(float[N,3,H,W] x) => (float[N,4,h,w] y) <{MAP}, float[4,3,3,3] weight>
        {{ c = Conv(x, weight) y = nd_deploy.NDChannelDeconv(c, mu, D) }}"""
    )
    assert found.ops == ["Conv"]
    assert [t.name for t in found.model.graph.output] == ["y"]


def test_two_in_a_row_keep_the_second_for_later_passes():
    found = push(
        f"""(float[N,3,H,W] x) => (float[N,4,h,w] y) <{MAP}, float[4,3,3,3] weight>
        {{
            c = Conv(x, weight)
            [first] a = nd_deploy.NDChannelDeconv(c, mu, D)
            [second] b = nd_deploy.NDChannelDeconv(a, mu, D)
            y = Relu(b)
        }}"""
    )
    assert found.ops == ["Conv", "NDChannelDeconv", "Relu"]
    assert found.decision.layer == "first"


def test_a_shared_weight_is_left_to_its_other_reader():
    found = push(
        f"""(float[N,3,H,W] x) => (float[N,4,h,w] y, float[N,4,h,w] z)
        <{MAP}, float[4,3,3,3] weight, float[4] bias>
        {{
            c = Conv(x, weight, bias)
            a = nd_deploy.NDChannelDeconv(c, mu, D)
            y = Relu(a)
            z = Conv(x, weight, bias)
        }}"""
    )
    assert sorted(found.ops) == ["Conv", "Conv", "Relu"]


def test_it_goes_forward_where_both_ways_are_open():
    found = push(
        f"""(float[N,3,H,W] x) => (float[N,5,h,w] y)
        <{MAP}, float[4,3,3,3] in_front, float[5,4,3,3] behind>
        {{
            [front] c = Conv(x, in_front)
            a = nd_deploy.NDChannelDeconv(c, mu, D)
            [back] y = Conv(a, behind)
        }}"""
    )
    assert (found.decision.action, found.decision.into) == (Action.FORWARD, ("back",))


def test_it_goes_backward_rather_than_keep_a_subtraction():
    found = push(
        f"""(float[N,3,H,W] x) => (float[N,5,h,w] y)
        <{MAP}, float[4,3,3,3] in_front, float[5,4,3,3] behind>
        {{
            [front] c = Conv(x, in_front)
            a = nd_deploy.NDChannelDeconv(c, mu, D)
            [back] y = Conv <pads=[1,1,1,1]> (a, behind)
        }}"""
    )
    assert found.ops == ["Conv", "Conv"]
    assert (found.decision.action, found.decision.into) == (Action.BACKWARD, ("front",))


@pytest.mark.parametrize(
    "padding",
    ["pads=[1,1,1,1]", "pads=[0,0,0,1]", 'auto_pad="SAME_UPPER"', 'auto_pad="SAME_LOWER"'],
)
def test_the_sub_stays_in_front_of_a_zero_padded_convolution(padding):
    found = push(
        f"""(float[N,4,H,W] x) => (float[N,5,h,w] y)
        <{LEFTOVER}, float[5,4,3,3] weight, float[5] bias>
        {{
            [white] a = nd_deploy.NDChannelDeconvLeftover(x, mu, D, mean, var_scale)
            [conv] y = Conv <{padding}> (a, weight, bias)
        }}"""
    )
    assert found.ops == ["Sub", "Conv"]
    decision = found.decision
    assert decision.op_type == "NDChannelDeconvLeftover"
    assert (decision.action, decision.into) == (Action.CENTRED, ("white", "conv"))
    assert decision.reason == (
        "Conv conv pads with zeros, so D folds into its weight and the mean is subtracted in front "
        "of it"
    )
    before = {t.name: numpy_helper.to_array(t) for t in found.before.graph.initializer}
    centre = found.initializer("white.centre")
    assert np.array_equal(centre.ravel(), [*before["mu"], *before["mean"]])
    assert centre.shape == (4, 1, 1)
    assert np.array_equal(found.initializer("bias"), before["bias"])


def test_every_reader_behind_the_sub_takes_the_matrix():
    found = push(
        f"""(float[N,4,4,4] x, float[N,2,4,4] z) => (float[N,5,4,4] y, float[N,3] u)
        <{MAP}, float[5,6,3,3] weight, float[4,3] columns, float[3] bias>
        {{
            [white] a = nd_deploy.NDChannelDeconv(x, mu, D)
            j = Concat <axis=1> (z, a)
            [conv] y = Conv <pads=[1,1,1,1]> (j, weight)
            p = GlobalAveragePool(a) f = Flatten(p)
            [fc] u = Gemm <alpha=0.5, beta=2.0> (f, columns, bias)
        }}"""
    )
    assert found.ops == ["Sub", "Concat", "Conv", "GlobalAveragePool", "Flatten", "Gemm"]
    assert found.decision.into == ("white", "conv", "fc")


def test_a_layer_that_is_reached_on_two_ways_takes_the_matrix_twice():
    found = push(
        f"""(float[N,4,6,6] x) => (float[N,5,3,3] y) <{MAP}, float[5,8,3,3] weight>
        {{
            a = nd_deploy.NDChannelDeconv(x, mu, D)
            p = AveragePool <kernel_shape=[2,2], strides=[2,2]> (a)
            q = AveragePool <kernel_shape=[4,4], strides=[1,1]> (a)
            j = Concat <axis=1> (p, q)
            [conv] y = Conv <pads=[1,1,1,1]> (j, weight)
        }}"""
    )
    assert found.ops == ["Sub", "AveragePool", "AveragePool", "Concat", "Conv"]


def test_a_shared_weight_is_cloned_behind_the_sub():
    found = push(
        f"""(float[N,4,H,W] x) => (float[N,5,h,w] y, float[N,5,h,w] z)
        <{MAP}, float[5,4,3,3] weight>
        {{
            a = nd_deploy.NDChannelDeconv(x, mu, D)
            y = Conv <pads=[1,1,1,1]> (a, weight)
            z = Conv <pads=[1,1,1,1]> (x, weight)
        }}"""
    )
    assert sorted(found.ops) == ["Conv", "Conv", "Sub"]


REFUSED = {
    "backward: Conv conv has groups, and D mixes channels across them": """
        [conv] c = Conv <group=2> (x, half)
        a = nd_deploy.NDChannelDeconv(c, mu, D) y = Relu(a) z = Abs(x)""",
    "backward: c is read by 2 nodes": """
        c = Conv(x, weight) a = nd_deploy.NDChannelDeconv(c, mu, D) y = Relu(a) z = Relu(c)""",
    "backward: z is an output of the model too": """
        z = Conv(x, weight) a = nd_deploy.NDChannelDeconv(z, mu, D) y = Relu(a)""",
    "backward: Relu act produces c (Relu is not a convolution or a linear layer)": """
        z = Conv(x, weight) [act] c = Relu(z)
        a = nd_deploy.NDChannelDeconv(c, mu, D) y = Relu(a)""",
    "backward: Concat join produces c (Concat is not a convolution or a linear layer)": """
        [join] c = Concat <axis=1> (x, x)
        a = nd_deploy.NDChannelDeconv(c, mu, D) y = Relu(a) z = Abs(x)""",
    "backward: Conv conv produces c (late is computed at run time)": """
        late = Abs(weight) [conv] c = Conv(x, late)
        a = nd_deploy.NDChannelDeconv(c, mu, D) y = Relu(a) z = Abs(x)""",
}


@pytest.mark.parametrize(("reason", "body"), REFUSED.items(), ids=REFUSED)
def test_it_stays_where_nothing_in_front_or_behind_can_take_it(reason, body):
    found = push(
        f"""(float[N,4,H,W] x) => (float[N,O,h,w] y, float[N,o,g,u] z)
        <{MAP}, float[4,4,3,3] weight, float[4,2,3,3] half> {{ {body} }}"""
    )
    assert found.refusal.startswith("forward: Relu Relu does not commute with mixing channels")
    assert found.refusal.endswith(reason)
    assert "NDChannelDeconv" in found.ops
