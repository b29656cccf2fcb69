"""A ChannelDeconv folded into the layers that it reaches."""

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


def parameters(model):
    return {t.name: numpy_helper.to_array(t).astype(np.float64) for t in model.graph.initializer}


@pytest.mark.parametrize(
    "conv",
    [
        "Conv(a, weight, bias)",
        "Conv(a, weight)",
        "Conv <strides=[2,2], dilations=[2,1]> (a, weight, bias)",
        'Conv <auto_pad="VALID"> (a, weight, bias)',
        "Conv <pads=[0,0,0,0]> (a, weight, bias)",
    ],
)
@pytest.mark.parametrize("leftover", [False, True], ids=["whole", "leftover"])
def test_nothing_is_left_in_front_of_an_unpadded_convolution(conv, leftover):
    op = "NDChannelDeconvLeftover(x, mu, D, mean, var_scale)"
    op = op if leftover else "NDChannelDeconv(x, mu, D)"
    found = push(
        f"""(float[N,4,H,W] x) => (float[N,5,h,w] y)
        <{LEFTOVER if leftover else MAP}, float[5,4,3,2] weight, float[5] bias>
        {{ [white] a = nd_deploy.{op} [conv] y = {conv} }}"""
    )
    assert found.ops == ["Conv"]
    decision = found.decision
    assert (decision.action, decision.into) == (Action.FORWARD, ("conv",))
    assert (decision.layer, decision.pass_name) == ("white", "push_channel_deconv")
    assert decision.reason == "every layer that reads it is linear and reads no zero padding"


def test_the_weight_takes_the_matrix_and_the_bias_the_mean():
    found = push(
        f"""(float[N,4,H,W] x) => (float[N,5,h,w] y)
        <{MAP}, float[5,4,3,3] weight, float[5] bias>
        {{ a = nd_deploy.NDChannelDeconv(x, mu, D) y = Conv(a, weight, bias) }}"""
    )
    before = parameters(found.before)
    M, m = np.kron(before["D"], np.eye(2)), np.kron(before["mu"], np.ones(2))
    weight = np.einsum("ochw,cd->odhw", before["weight"], M)
    np.testing.assert_allclose(found.initializer("weight"), weight, rtol=0, atol=1e-12)
    bias = before["bias"] - np.einsum("ochw,c->o", weight, m)
    np.testing.assert_allclose(found.initializer("bias"), bias, rtol=0, atol=1e-12)
    (certificate,) = found.decision.certificates
    assert certificate.growth == pytest.approx(
        np.abs(weight).max() / np.abs(before["weight"]).max()
    )
    rounding = weight - weight.astype(np.float32)
    unfolded = np.einsum("ochw,cd->odhw", rounding, np.linalg.inv(M))
    expected = np.linalg.norm(unfolded) / np.linalg.norm(before["weight"])
    assert certificate.storage_error == pytest.approx(expected)


def test_a_matrix_of_features_folds_into_a_linear_layer_and_creates_its_bias():
    """The authors' MLP: ChannelDeconv on features, with leftovers, into a layer without bias."""
    found = push(
        f"""(float[N,7] x) => (float[N,5] y) <{LEFTOVER}, float[5,7] weight>
        {{
            [white] a = nd_deploy.NDChannelDeconvLeftover(x, mu, D, mean, var_scale)
            [fc] y = Gemm <transB=1> (a, weight)
        }}"""
    )
    assert found.ops == ["Gemm"]
    assert [t.name for t in found.graph.nodes[0].inputs] == ["x", "weight", "fc.bias"]


def test_a_block_of_one_channel_folds():
    """How a block larger than the channels is exported."""
    found = push(
        """(float[N,4,H,W] x) => (float[N,5,h,w] y)
        <float[1] mu, float[1,1] D, float[5,4,1,1] weight>
        { a = nd_deploy.NDChannelDeconv(x, mu, D) y = Conv(a, weight) }"""
    )
    assert found.ops == ["Conv"]


def test_every_reader_is_folded_together():
    found = push(
        f"""(float[N,4,4,4] x) => (float[N,5,2,2] y, float[N,3] z)
        <{MAP}, float[5,4,3,3] weight, float[5] bias, float[3,4] rows>
        {{
            a = nd_deploy.NDChannelDeconv(x, mu, D)
            [conv] y = Conv(a, weight, bias)
            p = GlobalAveragePool(a) f = Flatten(p)
            [fc] z = Gemm <transB=1> (f, rows)
        }}"""
    )
    assert found.ops == ["Conv", "GlobalAveragePool", "Flatten", "Gemm"]
    assert found.decision.into == ("conv", "fc")
    assert len(found.decision.certificates) == 2


def test_one_reader_that_is_not_linear_keeps_all_of_them():
    found = push(
        f"""(float[N,4,H,W] x) => (float[N,5,h,w] y, float[N,4,H,W] z)
        <{MAP}, float[5,4,3,3] weight, float[5] bias>
        {{
            a = nd_deploy.NDChannelDeconv(x, mu, D) y = Conv(a, weight, bias)
            [act] z = Relu(a)
        }}"""
    )
    assert found.ops == ["NDChannelDeconv", "Conv", "Relu"]
    assert found.refusal == (
        "forward: Relu act does not commute with mixing channels; "
        "backward: x is an input of the model"
    )


def test_a_shared_weight_is_cloned_and_its_other_reader_keeps_it():
    found = push(
        f"""(float[N,4,H,W] x) => (float[N,5,h,w] y, float[N,5,h,w] z)
        <{MAP}, float[5,4,3,3] weight, float[5] bias>
        {{
            a = nd_deploy.NDChannelDeconv(x, mu, D)
            y = Conv(a, weight, bias)
            z = Conv(x, weight, bias)
        }}"""
    )
    assert found.ops == ["Conv", "Conv"]
    folded, plain = found.graph.nodes
    assert [t.name for t in folded.inputs[1:]] == ["weight_1", "bias_1"]
    assert [t.name for t in plain.inputs[1:]] == ["weight", "bias"]


def test_two_readers_that_share_a_weight_are_both_folded():
    found = push(
        f"""(float[N,4,H,W] x) => (float[N,5,h,w] y, float[N,5,h,w] z)
        <{MAP}, float[5,4,3,3] weight, float[5] bias>
        {{
            a = nd_deploy.NDChannelDeconv(x, mu, D)
            y = Conv(a, weight, bias)
            z = Conv <strides=[2,2]> (a, weight, bias)
        }}"""
    )
    assert found.ops == ["Conv", "Conv"]


def test_a_layer_that_is_reached_on_two_ways_is_folded_once():
    """A pyramid of poolings, joined in front of the classifier."""
    found = push(
        f"""(float[N,4,4,4] x) => (float[N,5] y) <{MAP}, float[5,20] rows, float[5] bias>
        {{
            a = nd_deploy.NDChannelDeconv(x, mu, D)
            p = GlobalAveragePool(a) pf = Flatten(p)
            q = AveragePool <kernel_shape=[2,2], strides=[2,2]> (a) qf = Flatten(q)
            j = Concat <axis=1> (pf, qf)
            [fc] y = Gemm <transB=1> (j, rows, bias)
        }}"""
    )
    assert found.ops == ["GlobalAveragePool", "Flatten", "AveragePool", "Flatten", "Concat", "Gemm"]
    assert found.decision.into == ("fc",)
    assert len(found.decision.certificates) == 1


def test_two_in_a_row_fold_into_the_same_layer():
    found = push(
        f"""(float[N,6,H,W] x) => (float[N,5,h,w] y)
        <{MAP}, float[4] mu2, float[4,4] D2, float[1] mean, float[1] var_scale,
         float[5,6,3,3] weight>
        {{
            [first] a = nd_deploy.NDChannelDeconv(x, mu, D)
            [second] b = nd_deploy.NDChannelDeconvLeftover(a, mu2, D2, mean, var_scale)
            [conv] y = Conv(b, weight)
        }}"""
    )
    assert found.ops == ["Conv"]
    assert [(d.layer, d.into) for d in found.decisions] == [
        ("first", ("conv",)),
        ("second", ("conv",)),
    ]


def test_two_that_are_joined_fold_into_the_same_layer():
    found = push(
        f"""(float[N,4,H,W] x, float[N,3,H,W] z) => (float[N,5,h,w] y)
        <{MAP}, {LEFTOVER.replace("mu", "mu2").replace("D", "D2")}, float[5,10,3,3] weight>
        {{
            r = Relu(z)
            a = nd_deploy.NDChannelDeconv(x, mu, D)
            b = nd_deploy.NDChannelDeconvLeftover(z, mu2, D2, mean, var_scale)
            j = Concat <axis=1> (a, r, b)
            [conv] y = Conv(j, weight)
        }}"""
    )
    assert found.ops == ["Relu", "Concat", "Conv"]
    assert len(found.decisions) == 2


def test_a_d_without_an_inverse_folds_with_an_unknown_storage_error():
    found = push(
        f"""(float[N,4,H,W] x) => (float[N,5,h,w] y) <{MAP}, float[5,4,3,3] weight>
        {{ a = nd_deploy.NDChannelDeconv(x, mu, D) y = Conv(a, weight) }}""",
        D=np.ones((2, 2)),
    )
    (certificate,) = found.decision.certificates
    assert np.isnan(certificate.storage_error)


def test_a_map_that_is_computed_at_run_time_is_refused():
    found = push(
        f"""(float[N,4,H,W] x) => (float[N,5,h,w] y) <{MAP}, float[5,4,3,3] weight>
        {{ late = Abs(mu) a = nd_deploy.NDChannelDeconv(x, late, D) y = Conv(a, weight) }}"""
    )
    assert found.refusal == "late is computed at run time"
