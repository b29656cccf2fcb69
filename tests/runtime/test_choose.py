from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import parser

from nd_deploy.compat import cuda_driver
from nd_deploy.errors import InputError
from nd_deploy.runtime import open_ort
from nd_deploy.runtime.choose import open_runner, opener
from nd_deploy.runtime.options import RUNTIMES, RunOptions, check_runtime
from nd_deploy.runtime.ort import plugins

HEADER = '<ir_version: 10, opset_import: ["": 21]>\n'
FEEDS = {"x": np.arange(6, dtype=np.float32).reshape(2, 3)}


@pytest.fixture
def model():
    return parser.parse_model(HEADER + "g (float[N, 3] x) => (float[N, 3] y) { y = Add (x, x) }")


@pytest.fixture
def file(model, tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    return path


class TestOptions:
    @pytest.mark.parametrize("runtime", RUNTIMES)
    def test_every_runtime_takes_no_options_at_all(self, runtime):
        check_runtime(runtime, RunOptions())

    @pytest.mark.parametrize(
        ("options", "takers"),
        [
            ({"tf32": True}, RUNTIMES[1:]),
            ({"cuda_graph": True}, RUNTIMES[1:]),
            ({"plugins": (Path("p.so"),)}, RUNTIMES[2:]),
            ({"batch": "1:8:32"}, RUNTIMES[2:]),
            ({"shapes": ("x=1x3",)}, RUNTIMES[2:]),
            ({"engine": Path("e")}, RUNTIMES[3:]),
        ],
    )
    def test_what_means_nothing_to_a_runtime_is_refused_with_those_it_means_something_to(
        self, options, takers
    ):
        for runtime in RUNTIMES:
            if runtime in takers:
                check_runtime(runtime, RunOptions(**options))
                continue
            with pytest.raises(InputError) as caught:
                check_runtime(runtime, RunOptions(**options))
            assert f"means nothing to --runtime {runtime}" in caught.value.problem
            assert " or ".join(takers) in caught.value.remedy

    @pytest.mark.parametrize("more", [{"batch": "8"}, {"shapes": ("x=1x3",)}])
    def test_an_engine_that_is_built_takes_no_shapes(self, more):
        with pytest.raises(InputError, match="for building an engine"):
            check_runtime("tensorrt", RunOptions(engine=Path("e"), **more))

    def test_trust_is_for_an_engine(self):
        with pytest.raises(InputError, match="--trust-unrecorded is for an --engine"):
            check_runtime("tensorrt", RunOptions(trust_unrecorded=True))

    def test_a_runtime_that_does_not_exist_lists_those_that_do(self):
        with pytest.raises(InputError) as caught:
            opener("onnxruntime")
        assert "ort-cpu, ort-cuda" in caught.value.remedy


class TestOnnxRuntime:
    def test_the_cpu_runs_a_model_or_its_file(self, model, file):
        for given in (model, file):
            runner = open_runner(given, "ort-cpu")
            np.testing.assert_array_equal(runner.run(FEEDS)["y"], 2 * FEEDS["x"])
            assert runner.receipt.providers_got == ("CPUExecutionProvider",)

    def test_threads_are_an_option_of_its_own(self, model):
        options = RunOptions(options={"threads": "1"})
        assert open_runner(model, "ort-cpu", options).receipt.threads == 1
        with pytest.raises(InputError, match="threads=none"):
            open_runner(model, "ort-cpu", RunOptions(options={"threads": "none"}))
        with pytest.raises(InputError, match="no option 'device_id'"):
            open_runner(model, "ort-cpu", RunOptions(options={"device_id": "0"}))

    def test_the_graph_can_be_left_as_it_is(self, model):
        receipt = opener("ort-cpu")(model, optimise=False).receipt
        assert receipt.options == {"graph_optimization": "none"}


class RecordingRunner:
    def __init__(self, model, providers, optimise, **options):
        self.file = model.read_bytes() if isinstance(model, Path) else None
        self.providers = providers
        self.options = options


@pytest.fixture
def gpu(monkeypatch, tmp_path):
    """Pretend to have an ONNX Runtime with a GPU."""
    monkeypatch.setattr(open_ort, "OnnxRuntimeRunner", RecordingRunner)
    monkeypatch.setattr(open_ort, "require_providers", lambda providers: None)
    monkeypatch.setattr(open_ort, "require_libraries", lambda provider: None)
    monkeypatch.setattr(open_ort, "tensorrt_version", lambda: "10.16.1")
    monkeypatch.setattr(cuda_driver, "device", lambda n: cuda_driver.Gpu("H200", "9.0", 1))
    monkeypatch.setenv("ND_DEPLOY_CACHE", str(tmp_path / "cache"))


@pytest.mark.usefixtures("gpu")
class TestOnnxRuntimeOnAGpu:
    def test_cuda_is_given_its_options(self, model):
        options = RunOptions({"device_id": "1", "threads": "2"}, tf32=True, cuda_graph=True)
        runner = open_runner(model, "ort-cuda", options)
        assert runner.providers == ("CUDAExecutionProvider",)
        assert runner.options["tf32"] is True
        assert runner.options["threads"] == 2
        assert runner.options["provider_options"] == {
            "CUDAExecutionProvider": {
                "device_id": "1",
                "use_tf32": "1",
                "enable_cuda_graph": "1",
            }
        }

    def test_cuda_computes_in_the_callers_stream_if_there_is_one(self, model):
        runner = open_ort.open_ort(model, "ort-cuda", RunOptions(), True, stream=94)
        entries = runner.options["provider_options"]["CUDAExecutionProvider"]
        assert entries["user_compute_stream"] == "94"

    def entries(self, model, **options):
        runner = open_runner(model, "ort-tensorrt", RunOptions(**options))
        assert runner.providers == ("TensorrtExecutionProvider",)
        return runner.options["provider_options"]["TensorrtExecutionProvider"]

    def test_a_profile_covers_every_open_input_in_tensorrts_notation(self):
        two = parser.parse_model(
            HEADER
            + "g (float[N, 3] a, float[N, 4, 4] b, float[3] c) => (float[N, 3] y)"
            + "{ y = Add (a, c) }"
        )
        entries = self.entries(two, batch="1:8:32")
        assert entries["trt_profile_min_shapes"] == "a:1x3,b:1x4x4"
        assert entries["trt_profile_opt_shapes"] == "a:8x3,b:8x4x4"
        assert entries["trt_profile_max_shapes"] == "a:32x3,b:32x4x4"

    def test_without_a_batch_the_provider_builds_for_what_it_meets(self, model):
        assert not any("profile" in name for name in self.entries(model))

    def test_engines_and_timings_are_kept_in_a_folder_of_their_key(self, model, tmp_path):
        entries = self.entries(model)
        assert entries["trt_engine_cache_enable"] == entries["trt_timing_cache_enable"] == "1"
        folder = Path(entries["trt_engine_cache_path"])
        assert folder.parent == tmp_path / "cache" / "engines" / "onnxruntime"
        assert folder.is_dir()
        assert entries["trt_timing_cache_path"] == str(folder)

    @pytest.mark.parametrize(
        "options",
        [
            {"batch": "1:2:4"},
            {"tf32": True},
            {"options": {"trt_builder_optimization_level": "5"}},
        ],
    )
    def test_whatever_decides_an_engine_moves_it_elsewhere(self, model, options):
        plain = self.entries(model)["trt_engine_cache_path"]
        assert self.entries(model, **options)["trt_engine_cache_path"] != plain
        assert self.entries(model)["trt_engine_cache_path"] == plain

    def test_a_plugin_library_has_to_bring_what_the_model_has(self, model, monkeypatch):
        asked = []
        check = lambda path, ops: asked.append(list(ops)) or f"hash of {path.name}"  # noqa: E731
        monkeypatch.setattr(plugins, "check_plugin", check)
        plain = self.entries(model)
        layer = onnx.helper.make_node("NDChannelDeconv", ["x"], ["z"], domain="trt.plugins")
        model.graph.node.append(layer)
        entries = self.entries(model, plugins=(Path("p.so"),))
        assert asked == [["NDChannelDeconv"]]
        assert entries["trt_extra_plugin_lib_paths"] == str(Path("p.so").absolute())
        assert entries["trt_engine_cache_path"] != plain["trt_engine_cache_path"]

    def test_what_decides_nothing_leaves_it_where_it_is(self, model):
        plain = self.entries(model)["trt_engine_cache_path"]
        assert self.entries(model, cuda_graph=True)["trt_engine_cache_path"] == plain

    def test_another_gpu_or_tensorrt_has_engines_of_its_own(self, model, monkeypatch):
        plain = self.entries(model)["trt_engine_cache_path"]
        monkeypatch.setattr(open_ort, "tensorrt_version", lambda: "10.9.0")
        other = self.entries(model)["trt_engine_cache_path"]
        monkeypatch.setattr(cuda_driver, "device", lambda n: cuda_driver.Gpu("L4", "8.9", 1))
        assert len({plain, other, self.entries(model)["trt_engine_cache_path"]}) == 3

    def test_nothing_is_kept_if_that_is_asked_for(self, model, tmp_path):
        off = {"trt_engine_cache_enable": "off", "trt_timing_cache_enable": "off"}
        entries = self.entries(model, options=off)
        assert entries["trt_engine_cache_enable"] == "0"
        assert "trt_engine_cache_path" not in entries
        assert not (tmp_path / "cache").exists()

    def test_a_model_that_is_no_file_is_made_one_for_as_long_as_it_is_read(self, model):
        runner = open_runner(model, "ort-tensorrt", RunOptions())
        assert onnx.load_from_string(runner.file) == model
