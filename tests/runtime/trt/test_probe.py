import importlib.util
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from engine_keys import KEY
from fake_cuda import FakeCuda
from stand_in_tensorrt import FakeTensorRT, plan

from nd_deploy.compat import cuda as cuda_compat
from nd_deploy.compat import trt as trt_compat
from nd_deploy.errors import BackendError, InputError
from nd_deploy.runtime.tensorrt.device import NoDevice, find_device
from nd_deploy.runtime.tensorrt.kept.engine_file import write_engine
from nd_deploy.runtime.tensorrt.process import run_in_child
from nd_deploy.runtime.tensorrt.running import probe
from nd_deploy.runtime.tensorrt.running.engine_facts import EngineFacts
from nd_deploy.runtime.tensorrt.running.engine_loading import Loading, load_engine
from nd_deploy.runtime.tensorrt.running.probe import probe_engine, require_engine

RTX = Loading("tensorrt_rtx")

needs_rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="TensorRT-RTX is not installed"
)
without_gpu = pytest.mark.skipif(
    not isinstance(find_device(), NoDevice), reason="a GPU loads the engine, or refuses otherwise"
)


class TestFacts:
    """What the other process does, in this one and with another TensorRT."""

    @pytest.fixture
    def here(self, monkeypatch):
        cuda = FakeCuda()
        module = FakeTensorRT(cuda)
        monkeypatch.setattr(cuda_compat, "find", lambda: cuda)
        monkeypatch.setattr(trt_compat, "load", lambda asked=None: module)

        def run(module, job, folder, environment, report):
            return probe._work(job, folder, report)

        monkeypatch.setattr(probe, "run_in_child", run)
        return module

    def test_an_engine_says_what_it_is(self, here, tmp_path):
        stored = write_engine(tmp_path / "e", plan(device_memory=77), KEY, {})
        found = probe_engine(stored, Loading("tensorrt"))
        assert found.ok
        facts = found.facts
        assert (facts.name, facts.profiles, facts.layers, facts.device_memory) == (
            "double",
            1,
            1,
            77,
        )
        (x,), (y,) = facts.inputs, facts.outputs
        assert (x.name, x.dtype, x.shape) == ("x", "float32", (None, 3))
        assert x.ranges == (((1, 3), (2, 3), (4, 3)),)
        assert (y.name, y.dtype, y.ranges) == ("y", "float32", ())

    @pytest.mark.parametrize(
        ("facts", "reason"),
        [
            ({"refused": "Cannot find plugin: NDX, version: 1"}, "a plugin that is not loaded"),
            ({"host_code": True}, "brings code for this machine"),
            ({"location": "HOST"}, "lies in host memory"),
        ],
    )
    def test_a_refusal_is_a_reason_or_an_error(self, here, tmp_path, facts, reason):
        stored = write_engine(tmp_path / "e", plan(**facts), KEY, {})
        found = probe_engine(stored, Loading("tensorrt"))
        assert not found.ok
        assert reason in found.reason
        assert found.remedy
        with pytest.raises(BackendError, match=reason):
            require_engine(stored, Loading("tensorrt"))

    def test_no_gpu(self, here, tmp_path):
        here.cuda.driver = 0
        found = probe_engine(write_engine(tmp_path / "e", plan(), KEY, {}), Loading("tensorrt"))
        assert found.reason == "no GPU can be used: there is no NVIDIA driver"

    def test_a_runtime_that_does_not_start(self, here, tmp_path):
        here.runs = False
        found = probe_engine(write_engine(tmp_path / "e", plan(), KEY, {}), Loading("tensorrt"))
        assert "cannot load" in found.reason

    def test_what_is_diagnosed_is_not_loaded(self, here):
        here.validity = (here.EngineValidity.INVALID, 2)
        with pytest.raises(BackendError, match="built for another GPU"):
            load_engine(here, plan(refused="loaded after all"), "e", Loading("tensorrt"))
        here.validity = (here.EngineValidity.VALID, 2)
        assert load_engine(here, plan(), "e", Loading("tensorrt"))

    def test_facts_survive_being_sent(self, here):
        facts = load_engine(here, plan(), "e", Loading("tensorrt")).facts
        assert EngineFacts.from_dict(json.loads(json.dumps(facts.as_dict()))) == facts


@pytest.fixture(scope="module")
def rtx_plan(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("rtx") / "plan"
    program = Path(__file__).with_name("rtx_plan.py")
    subprocess.run([sys.executable, program, path], check=True, cwd=path.parent)
    return path.read_bytes()


@pytest.mark.tensorrt
@needs_rtx
class TestTensorRTRTX:
    """The real library in a real process."""

    @pytest.fixture
    def stored(self, tmp_path, rtx_plan):
        key = replace(KEY, library="tensorrt_rtx")
        return lambda change: write_engine(tmp_path / "net.engine", change(rtx_plan), key, {})

    @without_gpu
    def test_a_good_engine_without_a_gpu(self, stored):
        found = probe_engine(stored(lambda plan: plan), RTX)
        assert not found.ok
        assert "there is no GPU that can be used" in found.reason
        assert "GPU" in found.remedy

    @pytest.mark.parametrize(
        "change",
        [
            lambda plan: b"x" * len(plan),
            lambda plan: plan[: len(plan) // 2],
            lambda plan: plan[:10],
            lambda plan: b"",
        ],
        ids=["foreign", "half", "ten bytes", "empty"],
    )
    def test_a_corrupt_engine(self, stored, change):
        found = probe_engine(stored(change), RTX)
        assert not found.ok
        assert "corrupt, or no engine of TensorRT-RTX" in found.reason
        assert "net.engine" in found.reason

    def test_an_engine_of_another_version(self, stored):
        # Where TensorRT-RTX 1.7 keeps the version that built the engine.
        found = probe_engine(stored(lambda plan: plan[:24] + bytes([99] * 4) + plan[28:]), RTX)
        assert not found.ok
        assert "another version of TensorRT-RTX" in found.reason or "corrupt" in found.reason

    def test_a_plan_that_changed_meanwhile(self, stored):
        engine = stored(lambda plan: plan)
        engine.plan_path.write_bytes(b"changed")
        with pytest.raises(InputError, match="has changed"):
            probe_engine(engine, RTX)

    def test_a_plugin_library_that_is_none(self, stored, tmp_path):
        library = tmp_path / "notes.so"
        library.write_text("no library")
        with pytest.raises(InputError, match=r"notes\.so: TensorRT-RTX .* cannot load it"):
            probe_engine(stored(lambda plan: plan), replace(RTX, plugin_libraries=(library,)))

    @pytest.mark.parametrize("signal", ["SIGABRT", "SIGSEGV"])
    def test_a_plugin_library_that_kills_the_process(self, stored, tmp_path, signal):
        library = tmp_path / "deadly.so"
        compile_library(library, signal)
        with pytest.raises(BackendError, match=f"killed by {signal}") as caught:
            probe_engine(stored(lambda plan: plan), replace(RTX, plugin_libraries=(library,)))
        assert caught.value.exit_code == 3


def compile_library(path: Path, signal: str) -> None:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    code = f"#include <signal.h>\n__attribute__((constructor)) void f(void) {{ raise({signal}); }}"
    command = [compiler, "-shared", "-fPIC", "-x", "c", "-", "-o", str(path)]
    subprocess.run(command, input=code, text=True, check=True)


def test_an_error_of_the_other_process_is_raised_in_this_one(tmp_path):
    (tmp_path / "plan").write_bytes(b"not the plan")
    job = {"plan": str(tmp_path / "plan"), "sha256": "0" * 64, "library": "tensorrt", "device": 0}
    job |= {"plugin_libraries": [], "python_plugins": False, "allow_host_code": False}
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(InputError, match="has changed since it was opened"):
        run_in_child(probe.__name__, job, folder, {}, lambda line: None)
