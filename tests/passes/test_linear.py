"""The forms of a linear layer in a graph, seen through a ChannelDeconv that folds into it."""

import pytest
from graphs import parse, rewrite

from nd_deploy.passes.base import Refusal
from nd_deploy.passes.linear import read_linear
from nd_deploy.passes.model import load
from nd_deploy.passes.push_channel_deconv import PushChannelDeconv

PARAMETERS = """float[2] mu, float[2,2] D, float[5,4] rows, float[4,5] columns, float[5] bias,
    float[1] one, float scalar, float[1,5] flat, float[3,5] each,
    float[5,3] left, float[4,4] square, float[2,4,5] stack"""


def push(end, source="float[3,4] x, float[3,4] z", parameters=PARAMETERS, **options):
    """A ChannelDeconv on rows, and what reads them."""
    return rewrite(
        f"""({source}) => (float[] y) <{parameters}>
        {{ a = nd_deploy.NDChannelDeconv(x, mu, D) {end} }}""",
        PushChannelDeconv(),
        **options,
    )


def stopped(end, **options):
    found = push(end, **options)
    assert found.ops[0] == "NDChannelDeconv"
    return found.refusal.removeprefix("forward: ").partition(";")[0]


@pytest.mark.parametrize(
    "gemm",
    [
        "Gemm <transB=1> (a, rows, bias)",
        "Gemm <transB=1> (a, rows)",
        "Gemm <transB=0> (a, columns, bias)",
        "Gemm(a, columns)",
        "Gemm <alpha=0.1, beta=3.0> (a, columns, bias)",
        "Gemm <alpha=-2.0, transB=1> (a, rows)",
        "Gemm <beta=0.3, transB=1> (a, rows, one)",
        "Gemm <beta=0.0> (a, columns, bias)",
        "Gemm(a, columns, scalar)",
        "Gemm <beta=2.0> (a, columns, flat)",
    ],
)
def test_a_gemm_in_any_form_keeps_its_form(gemm):
    found = push(f"y = {gemm}")
    (node,) = found.graph.nodes
    assert node.op == "Gemm"
    assert node.attrs == ({"transB": int("transB=1" in gemm)} if "transB" in gemm else {})
    assert found.initializer("columns" if "columns" in gemm else "rows").flags.c_contiguous


def test_an_optional_bias_that_is_left_out_is_made():
    before = parse(
        f"""(float[3,4] x) => (float[3,5] y) <{PARAMETERS}>
        {{ a = nd_deploy.NDChannelDeconv(x, mu, D) [fc] y = Gemm(a, columns, bias) }}"""
    )
    before.graph.node[1].input[2] = ""
    found = rewrite(before, PushChannelDeconv())
    assert [t.name for t in found.graph.nodes[0].inputs] == ["x", "columns", "fc.bias"]


def test_a_matrix_product_becomes_a_gemm_to_hold_the_bias():
    found = push("[fc] y = MatMul(a, columns)")
    (node,) = found.graph.nodes
    assert (node.op, node.name, node.attrs) == ("Gemm", "fc", {})
    assert [t.name for t in node.inputs] == ["x", "columns", "fc.bias"]


@pytest.mark.parametrize("added", ["p, bias", "bias, p", "p, one", "scalar, p"])
def test_the_add_behind_a_matrix_product_holds_its_bias(added):
    assert push(f"p = MatMul(a, columns) y = Add({added})").ops == ["MatMul", "Add"]


@pytest.mark.parametrize(
    ("end", "ops"),
    [
        ("p = MatMul(a, columns) y = Add(p, flat)", ["Gemm", "Add"]),
        ("p = MatMul(a, columns) y = Add(p, each)", ["Gemm", "Add"]),
        ("p = MatMul(a, columns) y = Add(p, p)", ["Gemm", "Add"]),
        ("p = MatMul(a, columns) q = Relu(p) y = Add(p, q)", ["Gemm", "Relu", "Add"]),
        ("p = MatMul(a, columns) q = Add(p, bias) y = Mul(q, p)", ["Gemm", "Add", "Mul"]),
        ("p = MatMul(a, columns) q = Relu(z) r = MatMul(q, columns) y = Add(p, r)", None),
    ],
)
def test_another_add_behind_a_matrix_product_is_left_alone(end, ops):
    found = push(end)
    assert sorted(found.ops) == sorted(ops or ["Gemm", "Relu", "MatMul", "Add"])


def test_a_product_that_is_an_output_is_not_joined_with_the_add_behind_it():
    found = rewrite(
        f"""(float[3,4] x) => (float[] p, float[] y) <{PARAMETERS}>
        {{
            a = nd_deploy.NDChannelDeconv(x, mu, D)
            p = MatMul(a, columns) y = Add(p, bias)
        }}""",
        PushChannelDeconv(),
    )
    assert found.ops == ["Gemm", "Add"]


def test_a_shared_bias_is_left_to_its_other_reader():
    found = push(
        """p = MatMul(a, columns) q = Add(p, bias)
        r = MatMul(z, columns) s = Add(r, bias) y = Concat <axis=1> (q, s)"""
    )
    assert found.ops == ["MatMul", "Add", "MatMul", "Add", "Concat"]
    names = [[t.name for t in node.inputs[1:]] for node in found.graph.nodes[:4]]
    assert names == [["columns_1"], ["bias_1"], ["columns"], ["bias"]]


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (
            "[fc] y = Gemm <transA=1> (a, each)",
            "Gemm fc: the linear layer reads its input transposed",
        ),
        (
            "[fc] y = Gemm(a, columns, each)",
            "Gemm fc: the linear layer's bias differs from sample to sample",
        ),
        ("late = Abs(columns) [fc] y = Gemm(a, late)", "Gemm fc: late is computed at run time"),
        (
            "late = Abs(bias) [fc] y = Gemm(a, columns, late)",
            "Gemm fc: late is computed at run time",
        ),
        ("late = Abs(columns) [fc] y = MatMul(a, late)", "MatMul fc: late is computed at run time"),
        ("[fc] y = MatMul(left, a)", "MatMul fc reads the tensor as its weight"),
        ("[fc] y = Gemm <transB=1> (z, a)", "Gemm fc reads the tensor as its weight"),
        ("[fc] y = Gemm <transB=1> (z, square, a)", "Gemm fc reads the tensor as its weight"),
        ("[fc] y = Gemm <transB=1> (a, a)", "Gemm fc reads the tensor twice"),
    ],
)
def test_a_linear_layer_that_cannot_take_it_is_refused(end, reason):
    assert stopped(end) == reason


@pytest.mark.parametrize(
    ("conv", "reason"),
    [
        ("Conv <group=2> (a, half)", "Conv conv has groups, and D mixes channels across them"),
        ("Conv(z, a)", "Conv conv reads the tensor as its weight"),
        ("Conv(a, late)", "Conv conv: late is computed at run time"),
        ("Conv(a, short)", "Conv conv reads 3 channels, not 4"),
    ],
)
def test_a_convolution_that_cannot_take_it_is_refused(conv, reason):
    reasons = stopped(
        f"late = Abs(kernel) [conv] y = {conv}",
        source="float[3,4,6,6] x, float[3,4,6,6] z",
        parameters="""float[2] mu, float[2,2] D, float[6,2,3,3] half, float[5,4,3,3] kernel,
            float[5,3,3,3] short""",
        runs="short" not in conv,
    )
    assert reasons == reason


def test_a_matrix_product_along_another_axis_is_refused():
    reason = stopped("[fc] y = MatMul(a, columns)", source="float[N,4,4] x")
    assert reason == "MatMul fc does not contract the channel axis"


def test_a_stack_of_matrices_is_not_one_weight():
    reason = stopped("[fc] y = MatMul(a, stack)")
    assert reason == "MatMul fc: the matrix product's weight has 3 axes, not 2"


def test_float16_parameters_and_other_nodes_are_refused():
    graph = load(
        parse(
            """(float16[N,4] x) => (float16[] y) <float16[4,5] columns>
            { [fc] p = MatMul(x, columns) [act] y = Relu(p) }"""
        )
    )
    product, act = graph.nodes
    reason = "columns is float16; fold before casting the network"
    assert read_linear(graph, product) == Refusal(reason)
    assert read_linear(graph, act) == Refusal("Relu is not a convolution or a linear layer")
