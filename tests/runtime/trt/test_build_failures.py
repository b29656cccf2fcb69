"""What keeps an engine from being built, in a child process that dies of it or not."""

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from trt_models import (
    built,
    library,
    nd_model,
    needs_compiler,
    needs_rtx,
    on_load,
    request_for,
    saved,
)

from nd_deploy.errors import BackendError, InputError, MissingDependencyError
from nd_deploy.runtime.tensorrt import process
from nd_deploy.runtime.tensorrt.building import build, network
from nd_deploy.runtime.tensorrt.building.build import build_engine
from nd_deploy.runtime.tensorrt.building.request import BuildRequest
from nd_deploy.runtime.tensorrt.device import NoDevice
from nd_deploy.runtime.tensorrt.facts import ModelFacts
from nd_deploy.runtime.tensorrt.log import Log

rtx = pytest.mark.tensorrt
PATIENCE_S = 60


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """A folder for everything temporary, which has to be empty in the end."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


def plugins(path):
    return {"plugin_libraries": (path,)}


@rtx
@needs_rtx
@needs_compiler
@pytest.mark.parametrize(
    ("statement", "name", "remedy"),
    [
        ("abort();", "SIGABRT", "nd-deploy plugin check"),
        ("*(volatile int *)0 = 0;", "SIGSEGV", "nd-deploy plugin check"),
        ("kill(getpid(), SIGKILL);", "SIGKILL", "memory"),
    ],
)
def test_a_child_that_is_killed_is_told_with_its_signal_and_last_words(
    tmp_path, temporary, statement, name, remedy
):
    words = 'fputs("libbroken says goodbye\\n", stderr);'
    broken = library(on_load(words + statement), tmp_path)
    with pytest.raises(BackendError, match=f"killed by {name}") as caught:
        built(nd_model(), tmp_path, **plugins(broken))
    assert "libbroken says goodbye" in caught.value.problem
    assert remedy in caught.value.remedy


@rtx
@needs_rtx
@needs_compiler
def test_a_library_without_plugins_is_refused_in_tensorrts_words(tmp_path):
    broken = library("int nothing;", tmp_path)
    with pytest.raises(InputError, match=r"cannot load it: .*getCreators") as caught:
        built(nd_model(), tmp_path, **plugins(broken))
    assert str(broken) in caught.value.problem


@rtx
@needs_rtx
def test_a_file_that_is_no_library_is_refused_in_tensorrts_words(tmp_path):
    text = tmp_path / "plugin.so"
    text.write_text("not a library")
    with pytest.raises(InputError, match=r"cannot load it: .*(ELF|too short)"):
        built(nd_model(), tmp_path, **plugins(text))


@pytest.mark.parametrize("change", [{"plugin_libraries": ("gone.so",)}, {"model": "gone.onnx"}])
def test_files_that_are_missing_are_named_before_anything_starts(tmp_path, change):
    paths = {name: tmp_path / value for name, value in change.items() if name == "model"}
    libraries = tuple(tmp_path / name for name in change.get("plugin_libraries", ()))
    fields = {"model": saved(nd_model(), tmp_path), "plugin_libraries": libraries} | paths
    with pytest.raises(InputError, match="gone"):
        build_engine(BuildRequest(**fields))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"precision": "int8"}, "'int8' is unknown"),
        ({"optimization_level": 6}, "--optimization-level 6"),
        ({"workspace_mib": 0}, "--workspace 0"),
        ({"embed_plugins": True}, "--embed-plugins"),
        ({"expected_default": "magic"}, "'magic'"),
        ({"expected": {"norm": "folded"}}, "norm is expected to run as 'folded'"),
    ],
)
def test_options_that_make_no_sense_are_refused_before_anything_starts(tmp_path, options, words):
    with pytest.raises(InputError, match=words):
        build_engine(BuildRequest(saved(nd_model(), tmp_path), **options))


def test_without_tensorrt_what_would_install_it_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(build.compat, "installed", lambda: ())
    with pytest.raises(MissingDependencyError, match="neither"):
        build_engine(BuildRequest(saved(nd_model(), tmp_path)))


def test_the_library_asked_for_is_not_replaced_by_the_other(tmp_path, monkeypatch):
    monkeypatch.setattr(build.compat, "installed", lambda: ("tensorrt_rtx",))
    with pytest.raises(MissingDependencyError, match="TensorRT is not installed"):
        build_engine(BuildRequest(saved(nd_model(), tmp_path), library="tensorrt"))


def test_tensorrt_without_a_gpu_is_refused_and_rtx_is_proposed(tmp_path, monkeypatch):
    monkeypatch.setattr(build.compat, "installed", lambda: ("tensorrt",))
    monkeypatch.setattr(build, "find_device", lambda index: NoDevice(f"no GPU {index}", "get one"))
    with pytest.raises(BackendError, match="none can be used: no GPU 3") as caught:
        build_engine(BuildRequest(saved(nd_model(), tmp_path), device=3))
    assert "get one" in caught.value.remedy
    assert "nd-deploy[rtx]" in caught.value.remedy


def test_a_builder_that_finds_no_gpu_is_told_with_a_remedy():
    def no_builder(logger):
        raise TypeError("pybind11::init(): factory function returned nullptr")

    trt = SimpleNamespace(__name__="tensorrt", __version__="10.3.0", Builder=no_builder)
    with pytest.raises(BackendError, match=r"TensorRT 10\.3\.0 .* needs a GPU"):
        network.make_builder(trt, None)


def test_options_of_one_library_are_refused_for_the_other(tmp_path, monkeypatch):
    path = saved(nd_model(), tmp_path)
    monkeypatch.setattr(build.compat, "installed", lambda: ("tensorrt", "tensorrt_rtx"))
    with pytest.raises(InputError, match="--compute-capability is for TensorRT-RTX"):
        build_engine(BuildRequest(path, library="tensorrt", compute_capabilities=("8.6",)))
    with pytest.raises(InputError, match="--timing-cache is for TensorRT"):
        build_engine(BuildRequest(path, library="tensorrt_rtx", timing_cache=tmp_path / "cache"))


@rtx
@needs_rtx
def test_an_interruption_ends_the_child_and_leaves_nothing(tmp_path, temporary, monkeypatch):
    children = []
    start = subprocess.Popen

    def started(*arguments, **options):
        children.append(start(*arguments, **options))
        return children[-1]

    def interrupt(line):
        if line == "parsing the model":
            raise KeyboardInterrupt

    monkeypatch.setattr(process.subprocess, "Popen", started)
    with pytest.raises(KeyboardInterrupt):
        built(nd_model(), tmp_path, report=interrupt)
    (child,) = children
    assert child.returncode == -signal.SIGKILL


@rtx
@needs_rtx
@needs_compiler
def test_ctrl_c_on_the_command_line_ends_the_child_and_leaves_nothing(tmp_path, temporary):
    """The child hangs in a plugin library, deaf to everything."""
    mark = tmp_path / "started"
    hang = on_load(f'fclose(fopen("{mark}", "w")); for (;;) sleep(9);')
    path, broken = saved(nd_model(), tmp_path), library(hang, tmp_path)
    script = (
        "from pathlib import Path\n"
        "from nd_deploy.runtime.tensorrt.building.build import build_engine\n"
        "from nd_deploy.runtime.tensorrt.building.request import BuildRequest\n"
        f"build_engine(BuildRequest(Path({str(path)!r}), library='tensorrt_rtx',\n"
        f"    plugin_libraries=(Path({str(broken)!r}),)))\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not mark.exists() and parent.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert mark.exists()
        parent.send_signal(signal.SIGINT)
        _, said = parent.communicate(timeout=PATIENCE_S)
    finally:
        parent.kill()
        parent.wait()
    assert b"KeyboardInterrupt" in said
    assert not processes_with(str(broken))


def processes_with(library):
    """The processes that have a library in their memory."""
    found = []
    for maps in Path("/proc").glob("[0-9]*/maps"):
        try:
            if library in maps.read_text():
                found.append(maps.parent.name)
        except OSError:
            continue
    return found


def test_a_refusal_quotes_the_log_where_the_parser_gives_no_errors():
    class Parser:
        num_errors = 0

        def __init__(self, network, logger):
            self.log = logger

        def parse_from_file(self, path):
            self.log("ERROR", "something is odd")
            return False

    trt = SimpleNamespace(
        __name__="tensorrt",
        __version__="10.3.0",
        NetworkDefinitionCreationFlag=None,
        OnnxParser=Parser,
    )
    builder = SimpleNamespace(create_network=lambda flags: None)
    log = Log()
    facts = ModelFacts(Path("model.onnx"), (), (), "float32", "")
    with pytest.raises(network.GraphError, match=r"refuses model\.onnx: something is odd"):
        network.parse(trt, builder, log, facts, log)


@rtx
@needs_rtx
def test_a_fault_of_our_own_keeps_its_traceback(tmp_path, monkeypatch):
    request = request_for(saved(nd_model(), tmp_path))
    monkeypatch.setattr(BuildRequest, "as_dict", lambda self: {"model": "gone"})
    with pytest.raises(RuntimeError, match="KeyError"):
        build_engine(request)
