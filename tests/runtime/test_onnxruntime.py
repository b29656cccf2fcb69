import os

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, parser

from nd_deploy import compat
from nd_deploy.errors import BackendError, GraphError, InputError
from nd_deploy.runtime.onnxruntime import OnnxRuntimeRunner
from nd_deploy.runtime.ort import plugins, tf32

HEADER = '<ir_version: 10, opset_import: ["": 21]>\n'
AFFINE = (
    HEADER
    + """
affine (float[N, 3] x, float[N, 3] y) => (float[N, 3] total, float[N, 3] product) {
    total = Add(x, y)
    product = Mul(x, y)
}
"""
)


def model(text=AFFINE):
    return parser.parse_model(text)


def array(*shape, dtype=np.float32):
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def feeds(**changed):
    return {"x": array(2, 3), "y": array(2, 3)} | changed


class RecordingSession:
    """Stands in for a session on a machine with a GPU."""

    got = ("CUDAExecutionProvider", "CPUExecutionProvider")
    asked_with = None

    def __init__(self, source, settings, **options):
        type(self).asked_with = (settings, options)

    def get_providers(self):
        return list(self.got)

    def get_inputs(self):
        return []

    get_outputs = get_inputs


@pytest.fixture
def cuda_machine(monkeypatch):
    available = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: available)
    session = type("Session", (RecordingSession,), {})
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    # What one session decides for its whole process is not to outlast the test.
    monkeypatch.setenv(tf32.VARIABLE, "")
    monkeypatch.setattr(tf32, "_of_tensorrt", None)
    monkeypatch.setattr(plugins, "_loaded", None)
    return session


class TestRunning:
    def test_every_output_is_returned_by_name(self):
        results = OnnxRuntimeRunner(model()).run(feeds())
        assert list(results) == ["total", "product"]
        assert np.array_equal(results["total"], 2 * array(2, 3))
        assert np.array_equal(results["product"], array(2, 3) ** 2)

    def test_a_file_with_its_weights_beside_it_runs(self, tmp_path):
        weighted = model(HEADER + "g (float[N, 3] x) => (float[N, 3] y) { y = MatMul(x, w) }")
        weights = np.eye(3, dtype=np.float32) * 5
        weighted.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
        path = tmp_path / "model.onnx"
        onnx.save(weighted, path, save_as_external_data=True, location="weights", size_threshold=0)
        assert np.array_equal(OnnxRuntimeRunner(path).run({"x": array(2, 3)})["y"], 5 * array(2, 3))

    def test_the_graph_can_be_run_as_it_is_written(self):
        receipt = OnnxRuntimeRunner(model(), optimise=False).receipt
        assert receipt.options == {"graph_optimization": "none"}

    def test_the_receipt_says_what_ran(self):
        receipt = OnnxRuntimeRunner(model(), threads=1).receipt
        assert receipt.runtime == "onnxruntime"
        assert receipt.version == onnxruntime.__version__
        assert receipt.providers_asked == receipt.providers_got == ("CPUExecutionProvider",)
        assert receipt.threads == 1
        assert receipt.tf32 is False


class TestInputs:
    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ({"x": array(2, 3)}, ["'y' is missing", "'x' float32 (N, 3), 'y' float32 (N, 3)"]),
            (feeds(image=array(1)), ["no input 'image'", "'x' float32 (N, 3)"]),
            (feeds(y=array(2, 3, dtype="f8")), ["'y' has dtype float64", "float32"]),
            (feeds(y=array(2, 3, dtype=">f4")), ["'y' has dtype >f4"]),
            (feeds(y=array(2, 4)), ["'y' has shape (2, 4)", "takes (N, 3)"]),
            (feeds(y=array(6)), ["'y' has shape (6)", "takes (N, 3)"]),
            (feeds(y=array(4, 3)), ["'y' has N = 4", "'x' has N = 2"]),
        ],
    )
    def test_what_does_not_fit_is_named_with_what_is_expected(self, given, said):
        with pytest.raises(InputError) as caught:
            OnnxRuntimeRunner(model()).run(given)
        assert all(part in str(caught.value) for part in said)

    def test_a_failure_inside_the_model_is_reported(self):
        free = model(
            HEADER + "g (float[A, B] x, float[C, D] y) => (float[A, D] z) { z = MatMul(x, y) }"
        )
        with pytest.raises(BackendError, match="MatMul dimension mismatch"):
            OnnxRuntimeRunner(free).run(feeds())


class TestModels:
    def test_an_operator_that_does_not_exist(self):
        unknown = model(HEADER + "g (float[N] x) => (float[N] y) { y = Frobnicate(x) }")
        with pytest.raises(GraphError, match="Frobnicate"):
            OnnxRuntimeRunner(unknown)

    def test_a_file_that_is_no_model_is_named(self, tmp_path):
        path = tmp_path / "notes.onnx"
        path.write_text("no model at all")
        with pytest.raises(GraphError, match=r"notes\.onnx"):
            OnnxRuntimeRunner(path)

    def test_a_missing_file_is_named(self, tmp_path):
        with pytest.raises(InputError, match=r"absent\.onnx is no file"):
            OnnxRuntimeRunner(tmp_path / "absent.onnx")

    def test_failures_are_raised_and_not_logged_as_well(self, capfd):
        unknown = model(HEADER + "g (float[N] x) => (float[N] y) { y = Frobnicate(x) }")
        with pytest.raises(GraphError):
            OnnxRuntimeRunner(unknown)
        assert capfd.readouterr() == ("", "")


class TestProviders:
    def test_an_unknown_one_is_refused_with_the_list(self):
        with pytest.raises(BackendError) as caught:
            OnnxRuntimeRunner(model(), ["WarpExecutionProvider"])
        assert "does not have WarpExecutionProvider" in caught.value.problem
        assert "CPUExecutionProvider" in caught.value.problem
        assert caught.value.exit_code == 3

    def test_the_reason_may_be_two_onnxruntimes(self, monkeypatch):
        monkeypatch.setattr(compat, "onnxruntime_conflict", lambda: "both are installed")
        with pytest.raises(BackendError, match="both are installed"):
            OnnxRuntimeRunner(model(), ["CUDAExecutionProvider"])

    def test_nodes_may_not_fall_back_to_the_cpu_unasked(self):
        # Every build has this provider, and no standard operator can run on it.
        azure = "AzureExecutionProvider"
        named = model(AFFINE.replace("total =", "[adder] total ="))
        with pytest.raises(BackendError) as caught:
            OnnxRuntimeRunner(named, [azure])
        assert "cannot run on AzureExecutionProvider alone" in caught.value.problem
        assert "adder (Add)" in caught.value.problem
        assert "to CPUExecutionProvider" in caught.value.problem
        receipt = OnnxRuntimeRunner(named, [azure, "CPUExecutionProvider"]).receipt
        assert receipt.providers_got == (azure, "CPUExecutionProvider")
        assert receipt.placement == {"CPUExecutionProvider": 2}

    def test_nodes_may_not_fall_back_where_onnxruntime_does_not_tell_where_they_run(
        self, monkeypatch
    ):
        monkeypatch.setattr("nd_deploy.compat.ort.tells_placement", lambda: False)
        with pytest.raises(BackendError, match="fallback to CPU EP has been explicitly disabled"):
            OnnxRuntimeRunner(model(), ["AzureExecutionProvider"])

    def test_a_session_on_another_provider_is_an_error(self, cuda_machine):
        cuda_machine.got = ("CPUExecutionProvider",)
        with pytest.raises(BackendError, match="not on CUDAExecutionProvider as asked") as caught:
            OnnxRuntimeRunner(model(), ["CUDAExecutionProvider"])
        assert caught.value.exit_code == 3

    def test_a_session_that_lost_one_of_several_providers_is_an_error(self, cuda_machine):
        with pytest.raises(BackendError, match="not on TensorrtExecutionProvider, CUDA"):
            OnnxRuntimeRunner(model(), ["TensorrtExecutionProvider", "CUDAExecutionProvider"])

    @pytest.mark.parametrize(
        ("options", "tf32"), [({}, False), ({"use_tf32": "1"}, True), ({"use_tf32": "0"}, False)]
    )
    def test_cuda_computes_in_tf32_only_if_asked(self, cuda_machine, options, tf32):
        cuda = "CUDAExecutionProvider"
        runner = OnnxRuntimeRunner(model(), [cuda], provider_options={cuda: options})
        assert runner.receipt.tf32 is tf32
        passed = cuda_machine.asked_with[1]["provider_options"]
        assert passed == [{"use_tf32": "1" if tf32 else "0"}]
        assert runner.receipt.options[f"{cuda}.use_tf32"] == passed[0]["use_tf32"]

    def test_tensorrt_computes_without_tf32_by_a_variable(self, cuda_machine, monkeypatch):
        cuda_machine.got = ("TensorrtExecutionProvider", "CPUExecutionProvider")
        runner = OnnxRuntimeRunner(model(), ["TensorrtExecutionProvider"])
        assert runner.receipt.tf32 is False
        assert os.environ[tf32.VARIABLE] == "0"

    def test_a_plugin_library_is_checked_before_a_session_is_tried(self, cuda_machine, tmp_path):
        tensorrt = "TensorrtExecutionProvider"
        options = {"trt_extra_plugin_lib_paths": f"{tmp_path / 'absent.so'}"}
        with pytest.raises(InputError, match=r"absent\.so does not exist"):
            OnnxRuntimeRunner(model(), [tensorrt], provider_options={tensorrt: options})
        assert cuda_machine.asked_with is None

    def test_sessions_neither_spin_nor_retry_elsewhere(self, cuda_machine):
        OnnxRuntimeRunner(model(), ["CUDAExecutionProvider"], threads=2)
        settings, options = cuda_machine.asked_with
        assert settings.get_session_config_entry("session.intra_op.allow_spinning") == "0"
        assert settings.get_session_config_entry("session.disable_cpu_ep_fallback") == "1"
        assert settings.intra_op_num_threads == 2
        assert options["enable_fallback"] == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"providers": []}, "no execution provider"),
        ({"threads": 0}, "threads is 0"),
        ({"provider_options": {"CUDAExecutionProvider": {}}}, "not asked for"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments, said):
    with pytest.raises(InputError, match=said):
        OnnxRuntimeRunner(model(), **arguments)


def test_inputs_of_every_standard_dtype_are_known():
    kinds = ["float16", "double", "int8", "uint8", "int16", "int32", "int64", "bool"]
    declared = ", ".join(f"{kind}[2] {kind}_" for kind in kinds)
    text = f"{HEADER}g ({declared}) => (double[2] y) {{ y = Identity(double_) }}"
    given = {
        f"{kind}_": np.ones(2, helper.tensor_dtype_to_np_dtype(parser_type))
        for kind, parser_type in ((k, onnx.TensorProto.DataType.Value(k.upper())) for k in kinds)
    }
    assert np.array_equal(OnnxRuntimeRunner(model(text)).run(given)["y"], np.ones(2))
