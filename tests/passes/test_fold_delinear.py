import numpy as np
import pytest
from graphs import rewrite
from onnx import numpy_helper

from nd_deploy.passes.base import Action
from nd_deploy.passes.fold_delinear import FoldDelinear

MATRIX = """(float[N,6] x) => (float[N,5] y)
    <float[5,6] weight, float[5] bias, float[3] mu, float[3,3] D>
    { [fc] y = nd_deploy.NDDelinear(x, weight, bias, mu, D) }"""


def fold(text, **options):
    return rewrite(text, FoldDelinear(), **options)


def test_on_a_matrix_it_becomes_a_gemm():
    found = fold(MATRIX)
    (node,) = found.graph.nodes
    assert (node.op, node.name, node.attrs) == ("Gemm", "fc", {"transB": 1})
    assert [t.name for t in node.inputs] == ["x", "weight", "bias"]
    assert found.decision.into == ("fc",)


@pytest.mark.parametrize("shape", ["N,7,6", "N,2,3,6"])
def test_on_more_axes_it_becomes_a_matrix_product_and_an_add(shape):
    found = fold(MATRIX.replace("N,6", shape).replace("N,5", "n," * shape.count(",") + "5"))
    assert found.ops == ["MatMul", "Add"]
    assert [node.name for node in found.graph.nodes] == list(found.decision.into)
    assert found.graph.outputs[0].name == "y"


def test_on_an_unknown_number_of_axes_it_becomes_a_matrix_product_and_an_add():
    found = fold(
        """(float[N,6] x, int64[axes] shape) => (float[a,b,c] y)
        <float[5,6] weight, float[5] bias, float[3] mu, float[3,3] D>
        { open = Reshape(x, shape) [fc] y = nd_deploy.NDDelinear(open, weight, bias, mu, D) }""",
        given={"shape": np.array([1, -1, 6])},
    )
    assert found.ops == ["Reshape", "MatMul", "Add"]


def test_the_weight_is_the_product_with_contiguous_blocks_of_d():
    found = fold(MATRIX)
    before = {
        t.name: numpy_helper.to_array(t).astype(np.float64) for t in found.before.graph.initializer
    }
    folded = before["weight"] @ np.kron(np.eye(2), before["D"])
    np.testing.assert_allclose(found.initializer("weight"), folded, rtol=0, atol=1e-12)
    offset = before["bias"] - folded @ np.tile(before["mu"], 2)
    np.testing.assert_allclose(found.initializer("bias"), offset, rtol=0, atol=1e-12)
    (certificate,) = found.decision.certificates
    rounding = folded - folded.astype(np.float32)
    unfolded = rounding @ np.kron(np.eye(2), np.linalg.inv(before["D"]))
    expected = np.linalg.norm(unfolded) / np.linalg.norm(before["weight"])
    assert certificate.storage_error == pytest.approx(expected, rel=1e-6)


def test_the_decision_names_the_layer():
    decision = fold(MATRIX).decision
    assert (decision.layer, decision.op_type) == ("fc", "NDDelinear")
    assert (decision.action, decision.pass_name) == (Action.FOLDED, "fold_delinear")


def test_layers_that_share_their_parameters_each_get_their_own():
    found = fold(
        """(float[N,6] x, float[N,2,6] z) => (float[N,5] y, float[N,2,5] u)
        <float[5,6] weight, float[5] bias, float[3] mu, float[3,3] D>
        {
            [a] y = nd_deploy.NDDelinear(x, weight, bias, mu, D)
            [b] u = nd_deploy.NDDelinear(z, weight, bias, mu, D)
        }"""
    )
    assert sorted(found.ops) == ["Add", "Gemm", "MatMul"]


def test_a_d_without_an_inverse_folds_with_an_unknown_storage_error():
    (certificate,) = fold(MATRIX, D=np.zeros((3, 3))).decision.certificates
    assert np.isnan(certificate.storage_error)


def test_a_parameter_that_is_computed_at_run_time_is_refused():
    found = fold(
        """(float[N,6] x, float[1] shift) => (float[N,5] y)
        <float[5,6] weight, float[5] bias, float[3] mu, float[3,3] D>
        { late = Add(D, shift) [fc] y = nd_deploy.NDDelinear(x, weight, bias, mu, late) }"""
    )
    assert found.refusal == "late is computed at run time"
    assert found.ops == ["Add", "NDDelinear"]


def test_float16_parameters_are_refused():
    found = fold(MATRIX.replace("float[", "float16["), runs=False)
    assert found.refusal == "weight is float16; fold before casting the network"


def test_blocks_that_do_not_fit_the_weight_are_refused():
    text = MATRIX.replace("float[3] mu, float[3,3] D", "float[4] mu, float[4,4] D")
    found = fold(text, runs=False)
    assert found.refusal == "weight (5, 6) does not split into blocks of 4 features"
