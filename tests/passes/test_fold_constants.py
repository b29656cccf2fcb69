import numpy as np
import onnx
import onnxruntime
from onnx import parser

from nd_deploy.passes.fold_constants import FoldConstants
from nd_deploy.passes.model import load, store
from nd_deploy.passes.pipeline import run_passes


def fold(text, **values):
    """Run the pass over a model in ONNX text, and give the model and the graph it left."""
    model = parser.parse_model(f'<ir_version: 10, opset_import: ["": 18]>\n{text}')
    for name, value in values.items():
        model.graph.initializer.append(
            onnx.numpy_helper.from_array(np.asarray(value, np.float32), name)
        )
    graph = load(model)
    result = FoldConstants()(graph)
    return graph, result


def ops(graph):
    return [node.op for node in graph.nodes]


def constant(graph, index=1):
    return graph.nodes[-1].inputs[index].values


W = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)


def test_a_weight_that_is_transposed_in_the_forward_becomes_a_parameter():
    graph, _ = fold(
        "g (float[N,4] x) => (float[N,3] y) { t = Transpose<perm=[1,0]>(w) y = MatMul(x, t) }", w=W
    )
    assert ops(graph) == ["MatMul"]
    np.testing.assert_array_equal(constant(graph), W.T)


def test_arithmetic_on_a_weight_is_done_in_float64():
    graph, _ = fold(
        "g (float[N,3] x) => (float[N,4] y) { e = Exp(w) d = Div(w, e) y = MatMul(x, d) }", w=W
    )
    wide = W.astype(np.float64)
    assert constant(graph).dtype == np.float64
    np.testing.assert_allclose(constant(graph), wide / np.exp(wide), rtol=1e-15)


def test_a_folded_model_is_stored_in_float32_and_runs():
    graph, _ = fold("g (float[N,3] x) => (float[N,4] y) { e = Exp(w) y = MatMul(x, e) }", w=W)
    model = store(graph)
    onnx.checker.check_model(model, full_check=True)
    assert {tensor.data_type for tensor in model.graph.initializer} == {onnx.TensorProto.FLOAT}


def test_what_reads_an_input_stays():
    graph, _ = fold("g (float[3,4] x) => (float[3,4] y) { z = Add(x, w) y = Relu(z) }", w=W)
    assert ops(graph) == ["Add", "Relu"]


def test_what_gives_an_output_stays():
    graph, _ = fold(
        "g (float[3,4] x) => (float[3,4] y, float[3,4] z) { z = Relu(w) y = Add(x, z) }", w=W
    )
    assert "Relu" in ops(graph)


def test_random_numbers_are_drawn_at_run_time():
    graph, _ = fold(
        "g (float[3,4] x) => (float[3,4] y) { r = RandomNormalLike(w) y = Add(x, r) }", w=W
    )
    assert "RandomNormalLike" in ops(graph)


def test_a_parameter_repeated_many_times_stays_small():
    graph, result = fold(
        """g (float[N,4] x) => (float[A,B] y) {
             s = Constant<value = int64[2] {100000, 4}>() b = Expand(v, s) y = Add(x, b)
           }""",
        v=W[:1],
    )
    assert ops(graph) == ["Expand", "Add"]
    ((_, refusal),) = result.refusals
    assert "makes much out of little" in refusal.reason


def test_a_channel_deconv_folds_into_a_weight_that_was_transposed():
    rng = np.random.default_rng(1)
    model = parser.parse_model(
        """<ir_version: 10, opset_import: ["": 18, "nd_deploy": 1]>
        g (float[N,4] x) => (float[N,3] y) {
          c = nd_deploy.NDChannelDeconv(x, m, d)
          t = Transpose<perm=[1,0]>(w)
          y = MatMul(c, t)
        }"""
    )
    d, m = rng.standard_normal((2, 2)), rng.standard_normal(2)
    for name, value in (("w", W), ("m", m), ("d", d)):
        model.graph.initializer.append(
            onnx.numpy_helper.from_array(np.asarray(value, np.float32), name)
        )
    folded = run_passes(model)
    assert [node.op_type for node in folded.model.graph.node] == ["Gemm"]
    x = rng.standard_normal((5, 4))
    whitened = (x - np.repeat(m, 2)) @ np.kron(d, np.eye(2)).T
    session = onnxruntime.InferenceSession(folded.model.SerializeToString())
    (y,) = session.run(None, {"x": x.astype(np.float32)})
    np.testing.assert_allclose(y, whitened @ W.T.astype(np.float64), rtol=1e-4, atol=1e-5)


def test_the_scales_of_a_resize_stay_float32():
    graph, _ = fold(
        """g (float[1,2,3,3] x) => (float[1,2,6,6] y) {
             s = Mul(half, four) y = Resize<mode = "nearest">(x, , s)
           }""",
        half=[0.5, 0.5, 1, 1],
        four=[2, 2, 2, 2],
    )
    assert ops(graph) == ["Resize"]
    onnx.checker.check_model(store(graph), full_check=True)
    assert store(graph, np.float64).graph.initializer[0].data_type == onnx.TensorProto.FLOAT
