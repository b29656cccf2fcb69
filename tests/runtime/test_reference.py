import tracemalloc

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper, parser
from torch.nn import functional

from nd_deploy.errors import BackendError, GraphError, InputError
from nd_deploy.runtime.reference import ReferenceRunner

HEADER = '<ir_version: 10, opset_import: ["": 21]>\n'


def tensor(seed, *shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def model(signature, body, kind="double", header=HEADER):
    """`T` in the signature stands for the model's float type."""
    text = f"{header}g {signature.replace('T[', kind + '[')} {{ {body} }}"
    return parser.parse_model(text)


def close(found, expected):
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, np.asarray(expected), rtol=1e-13, atol=1e-13)


ROWS, MATRIX = tensor(6, 3, 5), tensor(7, 4, 5)


class TestPrecision:
    @pytest.mark.parametrize("kind", ["float", "float16"])
    def test_a_model_of_lower_precision_runs_in_double(self, kind):
        lower = model(
            "(T[3,5] x) => (T[a,b] y)",
            "c = Constant<value_float=0.1>() m = MatMul(x, w) y = Mul(m, c)",
            kind,
        )
        dtype = np.float32 if kind == "float" else np.float16
        weights = MATRIX.T.numpy().astype(dtype)
        lower.graph.initializer.append(numpy_helper.from_array(weights, "w"))
        found = ReferenceRunner(lower).run({"x": ROWS.numpy()})["y"]
        close(found, ROWS.numpy() @ weights.astype(np.float64) * float(np.float32(0.1)))

    def test_bfloat16_weights_are_read(self):
        lower = model("(T[2] x) => (T[2] y)", "y = Mul(x, w)", "bfloat16")
        lower.graph.initializer.append(
            onnx.helper.make_tensor("w", onnx.TensorProto.BFLOAT16, [2], [1.5, -3.0])
        )
        close(ReferenceRunner(lower).run({"x": np.array([0.1, 0.2])})["y"], [0.15, -0.6])

    def test_float32_arithmetic_can_be_asked_for(self):
        text = """
        <ir_version: 10, opset_import: ["": 21, "nd_deploy": 1]>
        g (double[3,5] x, double[5,4] w) => (double[a,b] y) { y = nd_deploy.Halved(x, w) }
        <domain: "nd_deploy", opset_import: ["": 21]>
        Halved (x, w) => (y) {
            half = Constant<value_float: float = 0.5>()
            double_half = Cast<to: int = 11>(half)
            product = MatMul(x, w)
            y = Mul(product, double_half)
        }
        """
        x, w = ROWS.numpy(), MATRIX.T.numpy()
        runner = ReferenceRunner(parser.parse_model(text), {"w": w}, dtype=np.float32)
        found = runner.run({"x": x})["y"]
        assert found.dtype == np.float32
        assert np.array_equal(found, x.astype(np.float32) @ w.astype(np.float32) / 2)
        assert runner.receipt.options == {"dtype": "float32"}

    def test_another_arithmetic_is_refused(self):
        with pytest.raises(InputError, match="float16"):
            ReferenceRunner(model("(T[2] x) => (T[2] y)", "y = Neg(x)"), dtype=np.float16)

    def test_integers_stay_integers(self):
        runner = ReferenceRunner(model("(T[2,3] x) => (int64[n] y)", "y = Shape(x)"))
        shape = runner.run({"x": np.ones((2, 3))})["y"]
        assert shape.dtype == np.int64
        assert shape.tolist() == [2, 3]


class TestStructure:
    def test_local_functions_run_with_their_attributes(self):
        text = """
        <ir_version: 10, opset_import: ["": 21, "nd_deploy": 1]>
        g (float[1,2,5,5] x, float[2,2,3,3] w) => (float[a,b,c,d] y) {
            y = nd_deploy.Twice<pads=[1,1,1,1]>(x, w)
        }
        <domain: "nd_deploy", opset_import: ["": 21]>
        Twice <pads> (x, w) => (y) {
            two = Constant<value_float: float = 2.0>()
            half = Cast<to: int = 10>(x)
            v = Mul(w, two)
            y = Conv<pads: ints = @pads>(half, v)
        }
        """
        x, w = tensor(0, 1, 2, 5, 5), tensor(1, 2, 2, 3, 3)
        found = ReferenceRunner(parser.parse_model(text)).run({"x": x.numpy(), "w": w.numpy()})
        close(found["y"], functional.conv2d(x, 2 * w, padding=1))

    def test_subgraphs_see_the_tensors_around_them(self):
        text = (
            """
        (T[2] x, bool[1] c) => (T[2] y)""",
            """
            z = Neg(x)
            y = If (c) <
                then_branch = one () => (float[2] t) { t = Cast<to=1>(z) },
                else_branch = two () => (float[2] e) { e = Identity(x) }
            >
        """,
        )
        runner = ReferenceRunner(model(*text))
        x = np.array([0.1, 0.2])
        assert np.array_equal(runner.run({"x": x, "c": np.array([True])})["y"], -x)
        assert np.array_equal(runner.run({"x": x, "c": np.array([False])})["y"], x)

    def test_any_tensor_of_the_graph_can_be_fetched(self):
        runner = ReferenceRunner(model("(T[2] x) => (T[2] y)", "a = Neg(x) b = Exp(a) y = Sqrt(b)"))
        x = np.array([0.5, 2.0])
        found = runner.run({"x": x}, outputs=["b", "x"])
        assert list(found) == ["b", "x"]
        close(found["b"], np.exp(-x))
        assert found["x"] is x
        close(runner.run({"x": x})["y"], np.sqrt(np.exp(-x)))

    def test_a_tensor_is_dropped_after_its_last_use(self):
        steps = " ".join(f"t{i + 1} = Neg(t{i})" for i in range(40))
        runner = ReferenceRunner(model("(T[n] t0) => (T[n] y)", f"{steps} y = Neg(t40)"))
        x = np.zeros(100_000)
        tracemalloc.start()
        runner.run({"t0": x})
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 4 * x.nbytes

    def test_parameters_stand_for_weights_left_out_and_are_not_copied(self):
        weights = MATRIX.T.numpy().copy()
        light = model("(T[n,5] x, T[5,4] w) => (T[n,4] y)", "y = MatMul(x, w)")
        runner = ReferenceRunner(light, {"w": weights})
        found = runner.run({"x": ROWS.numpy()}, outputs=["y", "w"])
        assert found["w"] is weights
        close(found["y"], ROWS @ MATRIX.T)

    def test_a_parameter_may_replace_an_initializer(self):
        scaled = model("(T[2] x) => (T[2] y)", "y = Mul(x, w)")
        scaled.graph.initializer.append(numpy_helper.from_array(np.ones(2), "w"))
        found = ReferenceRunner(scaled, {"w": np.array([3.0, 4.0])}).run({"x": np.ones(2)})
        assert found["y"].tolist() == [3, 4]

    def test_the_model_stays_as_it_was(self):
        given = model("(T[2] x) => (T[2] y)", "y = Mul(x, w)", "float")
        given.graph.initializer.append(numpy_helper.from_array(np.ones(2, np.float32), "w"))
        before = given.SerializeToString()
        ReferenceRunner(given).run({"x": np.ones(2)}, outputs=["y"])
        assert given.SerializeToString() == before

    def test_the_receipt_names_the_runtime(self):
        receipt = ReferenceRunner(model("(T[2] x) => (T[2] y)", "y = Neg(x)")).receipt
        assert (receipt.runtime, receipt.version) == ("reference", f"onnx {onnx.__version__}")
        assert receipt.tf32 is False


class TestRefusals:
    @pytest.mark.parametrize(
        ("feeds", "outputs", "said"),
        [
            ({}, None, "'x' is missing"),
            ({"x": np.ones((2, 5)), "w": np.ones(1)}, None, "no input 'w'"),
            ({"x": np.ones((2, 4))}, None, r"shape \(2, 4\), but the model takes \(n, 5\)"),
            ({"x": np.ones((2, 5))}, ["z"], "no tensor 'z'"),
        ],
    )
    def test_inputs_and_outputs_that_do_not_fit(self, feeds, outputs, said):
        light = model("(T[n,5] x, T[5,4] w) => (T[n,4] y)", "y = MatMul(x, w)")
        runner = ReferenceRunner(light, {"w": np.ones((5, 4))})
        with pytest.raises(InputError, match=said):
            runner.run(feeds, outputs)

    @pytest.mark.parametrize(("name", "shape"), [("w", (2, 4)), ("v", (5, 4))])
    def test_a_parameter_that_does_not_fit(self, name, shape):
        light = model("(T[n,5] x, T[5,4] w) => (T[n,4] y)", "y = MatMul(x, w)")
        with pytest.raises(InputError, match=f"'{name}'"):
            ReferenceRunner(light, {name: np.ones(shape)})

    def test_a_node_that_cannot_compute_is_named(self):
        runner = ReferenceRunner(
            model("(T[a,b,c,d] x, T[e,f,g,h] w) => (T[i,j,k,l] y)", "y = Conv(x, w)")
        )
        with pytest.raises(BackendError, match="does not fit an input"):
            runner.run({"x": np.ones((1, 3, 4, 4)), "w": np.ones((2, 2, 1, 1))})

    def test_an_op_nobody_implements(self):
        header = '<ir_version: 10, opset_import: ["": 21, "acme": 1]>\n'
        unknown = model("(T[2] x) => (T[2] y)", "y = acme.Warp(x)", header=header)
        with pytest.raises(GraphError, match="Warp"):
            ReferenceRunner(unknown)

    def test_an_opset_whose_ops_meant_something_else(self):
        header = '<ir_version: 7, opset_import: ["": 12]>\n'
        old = model("(T[2] x) => (T[2] y)", "y = Softmax(x)", header=header)
        with pytest.raises(GraphError, match="opset 12"):
            ReferenceRunner(old)

    def test_weights_in_another_file(self, tmp_path):
        split = model("(T[2] x) => (T[2] y)", "y = Mul(x, w)")
        split.graph.initializer.append(numpy_helper.from_array(np.ones(2), "w"))
        onnx.save(split, tmp_path / "m.onnx", save_as_external_data=True, size_threshold=0)
        with pytest.raises(GraphError, match="'w' are in another file"):
            ReferenceRunner(onnx.load(tmp_path / "m.onnx", load_external_data=False))
