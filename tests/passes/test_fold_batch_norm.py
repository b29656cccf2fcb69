import numpy as np
import pytest
from graphs import geometry, rewrite

from nd_deploy.passes.base import Action
from nd_deploy.passes.fold_batch_norm import FoldBatchNorm
from nd_deploy.passes.fold_fast_deconv import FoldFastDeconv

NORM = "float[6] scale, float[6] shift, float[6] mean, float[6] var"
CONV = "float[6,4,3,3] weight, float[6] bias"


def fold(text, *before, **options):
    return rewrite(text, *before, FoldBatchNorm(), **options)


@pytest.mark.parametrize(
    ("parameters", "node"),
    [
        (CONV, "Conv <pads=[1,1,1,1]> (x, weight, bias)"),
        (CONV, "Conv <strides=[2,2], dilations=[2,2]> (x, weight)"),
        (
            "float[6,2,3,3] weight, float[6] bias",
            "Conv <group=2, pads=[0,1,1,0]> (x, weight, bias)",
        ),
    ],
    ids=["padded", "without bias", "grouped"],
)
def test_it_folds_into_the_convolution_in_front(parameters, node):
    found = fold(
        f"""(float[N,4,H,W] x) => (float[N,6,h,w] y) <{parameters}, {NORM}>
        {{
            [conv] c = {node}
            [norm] b = BatchNormalization <epsilon=0.003> (c, scale, shift, mean, var)
            y = Relu(b)
        }}"""
    )
    assert found.ops == ["Conv", "Relu"]
    decision = found.decision
    assert (decision.layer, decision.op_type) == ("norm", "BatchNormalization")
    assert (decision.action, decision.into) == (Action.BACKWARD, ("conv",))
    assert decision.reason == "Conv conv produces its input and nothing else reads it"


@pytest.mark.parametrize(
    ("node", "ops"),
    [
        ("Gemm <transB=1> (x, rows, bias)", ["Gemm"]),
        ("Gemm <alpha=0.5, beta=2.0> (x, columns, one)", ["Gemm"]),
        ("MatMul(x, columns)", ["Gemm"]),
    ],
)
def test_it_folds_into_a_linear_layer(node, ops):
    found = fold(
        f"""(float[N,4] x) => (float[N,6] y)
        <float[6,4] rows, float[4,6] columns, float[6] bias, float[1] one, {NORM}>
        {{ [fc] l = {node} [norm] y = BatchNormalization(l, scale, shift, mean, var) }}"""
    )
    assert found.ops == ops


@pytest.mark.parametrize("added", ["Add(l, bias)", "Add(bias, l)", "Add(l, one)"])
def test_it_folds_into_a_matrix_product_and_its_bias(added):
    found = fold(
        f"""(float[N,4] x) => (float[N,6] y)
        <float[4,6] columns, float[6] bias, float[1] one, {NORM}>
        {{
            [fc] l = MatMul(x, columns)
            a = {added}
            [norm] y = BatchNormalization(a, scale, shift, mean, var)
        }}"""
    )
    assert found.ops == ["MatMul", "Add"]
    assert found.decision.into == ("fc",)


def test_the_epsilon_that_is_left_out_is_that_of_onnx():
    found = fold(
        f"""(float[N,4,H,W] x) => (float[N,6,h,w] y) <{CONV}, {NORM}>
        {{ c = Conv(x, weight, bias) y = BatchNormalization(c, scale, shift, mean, var) }}""",
        weight=np.ones((6, 4, 3, 3)),
        scale=np.ones(6),
        var=np.zeros(6),
    )
    np.testing.assert_allclose(found.initializer("weight"), 1e-5**-0.5, rtol=1e-12)


def test_it_folds_into_a_fast_deconv_once_that_has_become_a_convolution():
    text = f"""(float[N,4,H,W] x) => (float[N,6,h,w] y)
        <{CONV}, float[1,12] mu, float[1,12,12] D, {NORM}>
        {{
            [conv] c = nd_deploy.NDFastDeconv <{geometry(3, padding=1)}> (x, weight, bias, mu, D)
            [norm] y = BatchNormalization(c, scale, shift, mean, var)
        }}"""
    early = fold(text)
    assert early.ops == ["NDFastDeconv", "BatchNormalization"]
    reason = "NDFastDeconv is not a convolution or a linear layer"
    assert early.refusal == f"NDFastDeconv conv produces c ({reason})"
    assert fold(text, FoldFastDeconv()).ops == ["Conv"]


def test_an_output_of_the_model_keeps_its_name():
    found = fold(
        f"""(float[N,4,H,W] x) => (float[N,6,h,w] y) <{CONV}, {NORM}>
        {{ c = Conv(x, weight) y = BatchNormalization(c, scale, shift, mean, var) }}"""
    )
    assert found.ops == ["Conv"]
    assert [output.name for output in found.model.graph.output] == ["y"]


def test_an_output_of_the_model_that_other_nodes_read_keeps_its_name():
    found = fold(
        f"""(float[N,4,H,W] x) => (float[N,6,h,w] y, float[N,6,h,w] z) <{CONV}, {NORM}>
        {{ c = Conv(x, weight) y = BatchNormalization(c, scale, shift, mean, var) z = Relu(y) }}"""
    )
    assert found.ops == ["Conv", "Relu"]


def test_a_shared_weight_is_left_to_its_other_reader():
    found = fold(
        f"""(float[N,4,H,W] x) => (float[N,6,h,w] y, float[N,6,h,w] z) <{CONV}, {NORM}>
        {{
            c = Conv(x, weight, bias)
            y = BatchNormalization(c, scale, shift, mean, var)
            z = Conv(x, weight, bias)
        }}"""
    )
    assert found.ops == ["Conv", "Conv"]


STAYS = {
    "c is read by 2 nodes": """
        c = Conv(x, weight)
        y = BatchNormalization(c, scale, shift, mean, var)
        z = Relu(c)""",
    "z is an output of the model too": """
        z = Conv(x, weight)
        y = BatchNormalization(z, scale, shift, mean, var)""",
    "x is an input of the model": """
        y = BatchNormalization(x, scale, shift, mean, var)
        z = Relu(x)""",
    "Relu act produces c (Relu is not a convolution or a linear layer)": """
        z = Conv(x, weight)
        [act] c = Relu(z)
        y = BatchNormalization(c, scale, shift, mean, var)""",
    "MaxPool pool produces c (MaxPool is not a convolution or a linear layer)": """
        z = Conv(x, weight)
        [pool] c = MaxPool <kernel_shape=[2,2]> (z)
        y = BatchNormalization(c, scale, shift, mean, var)""",
    "Add sum produces c (Add is not a convolution or a linear layer)": """
        z = Conv(x, weight)
        [sum] c = Add(z, z)
        y = BatchNormalization(c, scale, shift, mean, var)""",
    "ConvTranspose up produces c (ConvTranspose is not a convolution or a linear layer)": """
        [up] c = ConvTranspose(x, weight)
        y = BatchNormalization(c, scale, shift, mean, var)
        z = Relu(x)""",
    "Conv conv produces c (late is computed at run time)": """
        late = Abs(weight)
        [conv] c = Conv(x, late)
        y = BatchNormalization(c, scale, shift, mean, var)
        z = Relu(x)""",
    "late is computed at run time": """
        late = Abs(scale)
        z = Conv(x, weight)
        y = BatchNormalization(z, late, shift, mean, var)""",
}


@pytest.mark.parametrize(("reason", "body"), STAYS.items(), ids=STAYS)
def test_it_stays_where_the_layer_in_front_cannot_take_it(reason, body):
    found = fold(
        f"""(float[N,6,H,W] x) => (float[N,6,h,w] y, float[N,6,g,u] z)
        <float[6,6,3,3] weight, {NORM}> {{ {body} }}"""
    )
    assert found.refusal == reason
    assert "BatchNormalization" in found.ops


def test_a_matrix_product_on_more_axes_does_not_produce_channels():
    found = fold(
        f"""(float[N,6,4] x) => (float[N,6,5] y) <float[4,5] columns, {NORM}>
        {{ [fc] l = MatMul(x, columns) y = BatchNormalization(l, scale, shift, mean, var) }}"""
    )
    assert found.refusal == "MatMul fc does not produce channels on axis 1"


def test_a_sum_of_two_products_is_not_a_bias():
    found = fold(
        f"""(float[N,4] x) => (float[N,6] y) <float[4,6] a, float[4,6] b, {NORM}>
        {{
            l = MatMul(x, a) r = MatMul(x, b) [sum] s = Add(l, r)
            y = BatchNormalization(s, scale, shift, mean, var)
        }}"""
    )
    assert found.refusal == "Add sum produces s"


def test_statistics_of_the_batch_are_refused():
    found = fold(
        f"""(float[N,4,H,W] x) => (float[N,6,h,w] y) <{CONV}, {NORM}>
        {{
            c = Conv(x, weight)
            y, m, v = BatchNormalization <training_mode=1> (c, scale, shift, mean, var)
        }}""",
        runs=False,
    )
    assert found.refusal == "it normalises with the statistics of the batch"
