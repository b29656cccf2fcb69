import numpy as np
import pytest
from graphs import geometry, rewrite
from onnx import numpy_helper

from nd_deploy.passes.base import Action
from nd_deploy.passes.fold_fast_deconv import FoldFastDeconv

PLAIN = """(float[N,4,H,W] x) => (float[N,5,h,w] y)
    <float[5,4,3,3] weight, float[5] bias, float[1,12] mu, float[1,12,12] D>
    {{ [conv] y = nd_deploy.NDFastDeconv <{geometry}> (x, weight, bias, mu, D) }}"""
GROUPED = """(float[N,4,H,W] x) => (float[N,6,h,w] y)
    <float[6,2,3,3] weight, float[6] bias, float[2,18] mu, float[2,18,18] D>
    {{ [conv] y = nd_deploy.NDFastDeconv <{geometry}> (x, weight, bias, mu, D) }}"""
DEPTHWISE = """(float[N,4,H,W] x) => (float[N,4,h,w] y)
    <float[4,1,3,3] weight, float[4] bias, float[4,9] mu, float[4,9,9] D>
    {{ [conv] y = nd_deploy.NDFastDeconv <{geometry}> (x, weight, bias, mu, D) }}"""


def fold(text, **options):
    return rewrite(text, FoldFastDeconv(), **options)


def parameter(model, name):
    (tensor,) = (t for t in model.graph.initializer if t.name == name)
    return numpy_helper.to_array(tensor).astype(np.float64)


@pytest.mark.parametrize(
    "text",
    [
        PLAIN.format(geometry=geometry(3)),
        PLAIN.format(geometry=geometry(3, padding=1)),
        PLAIN.format(geometry=geometry(3, stride=2, padding=2)),
        PLAIN.format(geometry=geometry(3, dilation=2, padding=2)),
        GROUPED.format(geometry=geometry(3, stride=2, padding=1, group=2)),
        DEPTHWISE.format(geometry=geometry(3, padding=1, group=4)),
        """(float[N,4,H,W] x) => (float[N,5,h,w] y)
        <float[5,4,2,3] weight, float[5] bias, float[1,24] mu, float[1,24,24] D>
        { [conv] y = nd_deploy.NDFastDeconv <kernel_shape=[2,3], strides=[2,1], pads=[0,1,2,3],
            dilations=[1,2], group=1> (x, weight, bias, mu, D) }""",
        """(float[N,4,L] x) => (float[N,5,l] y)
        <float[5,4,3] weight, float[5] bias, float[1,6] mu, float[1,6,6] D>
        { [conv] y = nd_deploy.NDFastDeconv <kernel_shape=[3], strides=[2], pads=[1,1],
            dilations=[1], group=1> (x, weight, bias, mu, D) }""",
    ],
    ids=["plain", "padded", "strided", "dilated", "grouped", "depthwise", "uneven", "1-D"],
)
def test_it_becomes_a_convolution_with_the_same_geometry(text):
    found = fold(text, sizes={"L": 9})
    (node,) = found.graph.nodes
    assert (node.op, node.name, len(node.inputs)) == ("Conv", "conv", 3)
    assert node.attrs == {a.name: a.ints or a.i for a in found.before.graph.node[0].attribute}
    assert {t.name for t in found.model.graph.initializer} == {"weight", "bias"}
    assert not found.model.functions


def test_the_weight_is_the_product_with_the_kronecker_product_of_d():
    found = fold(PLAIN.format(geometry=geometry(3, padding=1)))
    weight, bias, mu, D = (parameter(found.before, n) for n in ("weight", "bias", "mu", "D"))
    folded = weight.reshape(5, 36) @ np.kron(D[0], np.eye(3))
    stored = found.initializer("weight").reshape(5, 36)
    np.testing.assert_allclose(stored, folded, rtol=0, atol=1e-12 * np.abs(folded).max())
    offset = bias - folded @ np.kron(mu[0], np.ones(3))
    np.testing.assert_allclose(found.initializer("bias"), offset, rtol=0, atol=1e-11)


def test_the_decision_names_the_layer_and_certifies_the_weight():
    found = fold(PLAIN.format(geometry=geometry(3)))
    decision = found.decision
    assert (decision.layer, decision.op_type) == ("conv", "NDFastDeconv")
    assert (decision.action, decision.into) == (Action.FOLDED, ("conv",))
    assert decision.pass_name == "fold_fast_deconv"
    (certificate,) = decision.certificates
    D, weight = parameter(found.before, "D"), found.initializer("weight")
    assert certificate.condition == pytest.approx(np.linalg.cond(D[0]), rel=1e-4)
    assert certificate.largest == np.abs(weight).max()
    rounding = (weight - weight.astype(np.float32)).reshape(5, 36)
    unfolded = rounding @ np.linalg.inv(np.kron(D[0], np.eye(3)))
    before = np.linalg.norm(parameter(found.before, "weight"))
    assert certificate.storage_error == pytest.approx(np.linalg.norm(unfolded) / before)


def test_the_storage_error_of_a_grouped_layer_is_over_all_groups():
    found = fold(GROUPED.format(geometry=geometry(3, group=2)))
    D, weight = parameter(found.before, "D"), found.initializer("weight")
    rounding = (weight - weight.astype(np.float32)).reshape(2, 3, 18)
    unfolded = [r @ np.linalg.inv(d) for r, d in zip(rounding, D, strict=True)]
    before = np.linalg.norm(parameter(found.before, "weight"))
    (certificate,) = found.decision.certificates
    assert certificate.storage_error == pytest.approx(np.linalg.norm(unfolded) / before)
    assert certificate.condition == pytest.approx(max(map(np.linalg.cond, D)), rel=1e-4)


def test_a_d_without_an_inverse_folds_with_an_unknown_storage_error():
    found = fold(PLAIN.format(geometry=geometry(3)), D=np.ones((1, 12, 12)))
    (certificate,) = found.decision.certificates
    assert certificate.condition == float("inf")
    assert np.isnan(certificate.storage_error)


def test_what_stands_around_the_layer_plays_no_part():
    found = fold(
        f"""(float[N,4,H,W] x) => (float[N,4,H,W] y, float[N,4,H,W] a)
        <float[4,4,3,3] w1, float[4] b1, float[1,12] mu1, float[1,12,12] D1,
         float[4,4,3,3] w2, float[4] b2, float[1,36] mu2, float[1,36,36] D2>
        {{
            r = Relu(x)
            [first] a = nd_deploy.NDFastDeconv <{geometry(3, padding=1)}> (r, w1, b1, mu1, D1)
            m = MaxPool <kernel_shape=[3,3], pads=[1,1,1,1]> (a)
            [second] s = nd_deploy.NDFastDeconv <{geometry(3, padding=1)}> (m, w2, b2, mu2, D2)
            y = Add(s, a)
        }}"""
    )
    assert found.ops == ["Relu", "Conv", "MaxPool", "Conv", "Add"]
    assert [d.layer for d in found.decisions] == ["first", "second"]


def test_layers_that_share_a_weight_each_get_their_own_and_other_readers_keep_it():
    found = fold(
        f"""(float[N,4,H,W] x) => (float[N,4,h,w] y, float[N,4,h,w] z, float[N,4,h,w] plain)
        <float[4,4,3,3] weight, float[4] bias,
         float[1,12] mu1, float[1,12,12] D1, float[1,12] mu2, float[1,12,12] D2>
        {{
            [a] y = nd_deploy.NDFastDeconv <{geometry(3)}> (x, weight, bias, mu1, D1)
            [b] z = nd_deploy.NDFastDeconv <{geometry(3)}> (x, weight, bias, mu2, D2)
            [c] plain = Conv(x, weight, bias)
        }}"""
    )
    assert found.ops == ["Conv", "Conv", "Conv"]
    assert len({id(node.inputs[1]) for node in found.graph.nodes}) == 3
    stored = parameter(found.model, "weight")
    assert np.array_equal(stored, parameter(found.before, "weight"))


@pytest.mark.parametrize("name", ["weight", "bias", "mu", "D"])
def test_a_parameter_that_is_computed_at_run_time_is_refused(name):
    arguments = ", ".join("late" if n == name else n for n in ("weight", "bias", "mu", "D"))
    found = fold(
        f"""(float[N,4,H,W] x, float[1] shift) => (float[N,5,h,w] y)
        <float[5,4,1,1] weight, float[5] bias, float[1,4] mu, float[1,4,4] D>
        {{
            late = Add({name}, shift)
            [conv] y = nd_deploy.NDFastDeconv <{geometry(1)}> (x, {arguments})
        }}"""
    )
    assert found.refusal == "late is computed at run time"
    assert found.ops == ["Add", "NDFastDeconv"]


def test_float16_parameters_are_refused():
    text = PLAIN.format(geometry=geometry(3)).replace("float[", "float16[")
    found = fold(text, runs=False)
    assert found.refusal == "weight is float16; fold before casting the network"
    assert found.ops == ["NDFastDeconv"]


@pytest.mark.parametrize(
    ("weight", "features", "groups", "reason"),
    [
        ("5,4,3,3", 10, 1, "weight (5, 4, 3, 3) does not split into 1 groups of 10 features"),
        ("5,2,3,3", 18, 2, "weight (5, 2, 3, 3) does not split into 2 groups of 18 features"),
    ],
)
def test_blocks_that_do_not_fit_the_weight_are_refused(weight, features, groups, reason):
    found = fold(
        f"""(float[N,4,H,W] x) => (float[N,5,h,w] y)
        <float[{weight}] weight, float[5] bias, float[{groups},{features}] mu,
         float[{groups},{features},{features}] D>
        {{
            [conv] y = nd_deploy.NDFastDeconv <{geometry(3, group=groups)}> (x, weight, bias, mu, D)
        }}""",
        runs=False,
    )
    assert found.refusal == reason
    assert found.ops == ["NDFastDeconv"]
