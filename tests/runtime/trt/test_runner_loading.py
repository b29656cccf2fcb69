from dataclasses import replace
from pathlib import Path

import pytest
from engine_keys import KEY
from stand_in_tensorrt import batch, plan

from nd_deploy.errors import BackendError, InputError
from nd_deploy.runtime.tensorrt.kept.engine_file import write_engine
from nd_deploy.runtime.tensorrt.running import runner
from nd_deploy.runtime.tensorrt.running.runner import TensorRTRunner


class TestLoading:
    def test_the_receipt_says_what_runs(self, make_runner):
        receipt = make_runner(replace(KEY, tf32=True)).receipt
        assert (receipt.runtime, receipt.version, receipt.tf32) == ("tensorrt", "10.16.1", True)
        assert receipt.providers_asked == receipt.providers_got == ("TensorRT",)
        assert receipt.options["precision"] == "float32"
        assert receipt.options["device"] == "NVIDIA H200"
        assert receipt.options["cuda"] == "fake 1.0"
        assert receipt.options["host_code"] == "False"
        assert len(receipt.options["engine"]) == 64

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"version": "10.3.0"}, "library's version is 10.3.0, not 10.16.1"),
            ({"device": "NVIDIA A100"}, "GPU is NVIDIA A100, not NVIDIA H200"),
            ({"compute_capability": "8.0"}, "compute capability is 8.0, not 9.0"),
            ({"plugins": ("c" * 64,)}, "a plugin library that is not given, of sha256 ccc"),
        ],
    )
    def test_an_engine_for_elsewhere_is_refused_before_it_is_loaded(
        self, make_runner, changes, said
    ):
        with pytest.raises(BackendError, match=said):
            make_runner(replace(KEY, **changes), refused="loaded after all")

    def test_a_portable_engine_is_for_everywhere(self, make_runner):
        portable = replace(KEY, device="portable", compute_capability="8.0+")
        assert make_runner(portable).run(batch(1))

    def test_no_gpu(self, make_runner, cuda):
        cuda.driver = 0
        with pytest.raises(BackendError, match="no GPU can be used: there is no NVIDIA driver"):
            make_runner()

    def test_a_corrupt_plan(self, trt, tmp_path):
        stored = write_engine(tmp_path / "net.engine", b"\x00", KEY, {})
        with pytest.raises(BackendError, match=r"net\.engine: it is corrupt, or no engine of"):
            TensorRTRunner(stored, probe=False)

    def test_a_plan_that_changed(self, trt, tmp_path):
        write_engine(tmp_path / "net.engine", plan(), KEY, {})
        (tmp_path / "net.engine").write_bytes(plan(fails="now"))
        with pytest.raises(InputError):
            TensorRTRunner(tmp_path / "net.engine", probe=False)

    def test_code_for_the_host_is_allowed_only_if_asked(self, make_runner):
        with pytest.raises(BackendError, match="brings code for this machine"):
            make_runner(host_code=True)
        allowed = make_runner(options={"allow_host_code": True}, host_code=True)
        assert allowed.receipt.options["host_code"] == "True"
        assert allowed.run(batch(1))

    def test_an_engine_of_another_tool(self, trt, tmp_path):
        (tmp_path / "net.engine").write_bytes(plan())
        with pytest.raises(InputError, match="nothing says what it was built from"):
            TensorRTRunner(tmp_path / "net.engine", probe=False)
        runner = TensorRTRunner(tmp_path / "net.engine", probe=False, trust_unrecorded=True)
        assert runner.receipt.tf32 is None
        assert runner.receipt.options["precision"] == "unknown"
        assert runner.run(batch(1))

    def test_an_engine_is_tried_in_another_process_first(self, trt, tmp_path, monkeypatch):
        tried = []

        def try_it(engine, loading, device):
            tried.append((engine.plan_path, loading.allow_host_code, device))
            raise BackendError("the other process was killed by SIGSEGV", "mend it")

        monkeypatch.setattr(runner, "require_engine", try_it)
        stored = write_engine(tmp_path / "net.engine", plan(refused="loaded here"), KEY, {})
        with pytest.raises(BackendError, match="SIGSEGV"):
            TensorRTRunner(stored)
        assert tried == [(tmp_path / "net.engine", False, 0)]


class TestPlugins:
    @pytest.fixture
    def library(self, tmp_path) -> Path:
        path = tmp_path / "libnd.so"
        path.write_bytes(b"code")
        return path

    def test_are_loaded_once_and_recorded(self, make_runner, trt, library):
        first = make_runner(options={"plugin_libraries": [library]})
        make_runner(options={"plugin_libraries": [library]})
        assert trt.libraries == [str(library)]
        # printf code | sha256sum
        recorded = "5694d08a2e53ffcae0c3103e5ad6f6076abd960eb1f8a56577040bc1028f702b"
        assert first.receipt.options["plugins"] == recorded
        assert make_runner(replace(KEY, plugins=(recorded,)), {"plugin_libraries": [library]})

    def test_an_engine_may_carry_its_own_if_it_is_allowed_to(self, make_runner):
        carries = replace(KEY, plugins=("c" * 64,))
        assert make_runner(carries, {"allow_host_code": True}, host_code=True).run(batch(1))

    def test_one_that_is_missing(self, make_runner, tmp_path):
        with pytest.raises(InputError, match=r"--plugin .*absent\.so is no file"):
            make_runner(options={"plugin_libraries": [tmp_path / "absent.so"]})

    def test_one_that_cannot_be_loaded(self, make_runner, tmp_path):
        (tmp_path / "broken.so").write_bytes(b"")
        with pytest.raises(InputError, match=r"broken\.so: TensorRT 10\.16\.1 cannot load it"):
            make_runner(options={"plugin_libraries": [tmp_path / "broken.so"]})
