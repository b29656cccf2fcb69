import importlib
import sys
from types import SimpleNamespace

import pytest
from trt_models import needs_rtx

from nd_deploy.compat import trt
from nd_deploy.compat.trt import Precedence
from nd_deploy.errors import InputError, MissingDependencyError


@pytest.fixture
def only(monkeypatch):
    """Let these modules alone be installed."""

    def install(*names):
        found = SimpleNamespace(origin="somewhere")
        find = dict.fromkeys(names, found).get
        monkeypatch.setattr(trt.importlib.util, "find_spec", find)

    return install


@pytest.fixture
def fake_module(monkeypatch, tmp_path):
    """Write a module `tensorrt` that is found first."""

    def write(text):
        (tmp_path / "tensorrt").mkdir()
        (tmp_path / "tensorrt" / "__init__.py").write_text(text)
        monkeypatch.syspath_prepend(tmp_path)

    before = sys.modules.pop("tensorrt", None)
    yield write
    sys.modules.pop("tensorrt", None)
    if before is not None:
        sys.modules["tensorrt"] = before


def test_tensorrt_goes_before_tensorrt_rtx_unless_one_is_asked_for(only):
    only("tensorrt", "tensorrt_rtx")
    assert trt.choose() == "tensorrt"
    assert trt.choose("tensorrt_rtx") == "tensorrt_rtx"
    only("tensorrt_rtx")
    assert trt.choose() == "tensorrt_rtx"


def test_without_either_both_extras_are_named(only):
    only()
    with pytest.raises(MissingDependencyError, match="neither") as caught:
        trt.choose()
    assert "nd-deploy[tensorrt]" in caught.value.remedy
    assert "nd-deploy[rtx]" in caught.value.remedy


@pytest.mark.parametrize(
    ("asked", "there", "extra"),
    [("tensorrt", "tensorrt_rtx", "tensorrt"), ("tensorrt_rtx", "tensorrt", "rtx")],
)
def test_the_library_asked_for_is_not_replaced_by_the_other(only, asked, there, extra):
    only(there)
    with pytest.raises(MissingDependencyError, match="is not installed") as caught:
        trt.choose(asked)
    assert f"nd-deploy[{extra}]" in caught.value.remedy
    assert f"{trt.title(there)} is here" in caught.value.remedy


def test_a_folder_that_is_called_tensorrt_is_no_library(monkeypatch, tmp_path):
    (tmp_path / "tensorrt").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    importlib.invalidate_caches()
    assert "tensorrt" not in trt.installed()


def test_a_broken_installation_is_told_with_its_cause(fake_module):
    fake_module("raise OSError('libnvinfer.so.10: cannot open')")
    with pytest.raises(MissingDependencyError, match=r"OSError: libnvinfer\.so\.10") as caught:
        trt.load("tensorrt")
    assert "--force-reinstall" in caught.value.remedy


def test_an_empty_installation_is_told(fake_module):
    fake_module("")
    with pytest.raises(MissingDependencyError, match="empty"):
        trt.load("tensorrt")


def module(flags=(), layers=(), creation=()):
    def enum(names):
        return SimpleNamespace(**{name: value for value, name in enumerate(names)})

    return SimpleNamespace(
        OnnxParserFlag=enum(flags),
        LayerType=enum(layers),
        NetworkDefinitionCreationFlag=enum(creation),
    )


@pytest.mark.parametrize(
    ("found", "rule"),
    [
        (module(), Precedence.BODY),
        (module(layers=["SQUEEZE"]), Precedence.PLUGIN),
        (
            module(["NATIVE_INSTANCENORM", "ENABLE_PLUGIN_OVERRIDE"], ["SQUEEZE"]),
            Precedence.ATTRIBUTE,
        ),
    ],
    ids=["10.3", "10.7", "10.15"],
)
def test_the_parsers_rule_is_known_by_what_came_with_it(found, rule):
    assert trt.precedence(found) is rule


def test_strong_typing_is_asked_for_by_its_name_wherever_its_number_is():
    assert trt.network_flags(module(creation=["EXPLICIT_BATCH", "STRONGLY_TYPED"])) == 2
    assert trt.network_flags(module(creation=["STRONGLY_TYPED", "PREFER_JIT"])) == 1
    assert trt.network_flags(module(creation=["PREFER_JIT"])) == 0


def creators(*names):
    return [SimpleNamespace(name=n, plugin_version="1", plugin_namespace="a") for n in names]


def test_plugins_are_listed_by_the_newest_way_that_is_there():
    old = SimpleNamespace(plugin_creator_list=creators("P"))
    new = SimpleNamespace(plugin_creator_list=creators("P"), all_creators=creators("P", "Q"))
    assert {p.name for p in trt.plugin_creators(old)} == {"P"}
    assert trt.plugin_creators(new) == {("P", "1", "a"), ("Q", "1", "a")}


def test_memory_is_asked_by_the_newest_way_that_is_there():
    assert trt.device_memory_size(SimpleNamespace(device_memory_size=7)) == 7
    assert trt.device_memory_size(SimpleNamespace(device_memory_size_v2=8)) == 8


def test_tensorrt_itself_builds_for_no_other_gpu():
    library = SimpleNamespace(__name__="tensorrt", __version__="10.3.0")
    config = SimpleNamespace(num_compute_capabilities=0)
    with pytest.raises(InputError, match=r"TensorRT 10\.3\.0 cannot build for .* 8\.6"):
        trt.set_compute_capabilities(library, config, ["8.6"])


@needs_rtx
@pytest.mark.tensorrt
def test_rtx_knows_compute_capabilities_by_their_numbers():
    known = trt.compute_capabilities(trt.load("tensorrt_rtx"))
    assert {"7.5", "8.6", "12.0"} <= set(known)


@needs_rtx
@pytest.mark.tensorrt
def test_a_new_process_finds_rtx_by_a_name_without_a_version(monkeypatch):
    monkeypatch.setenv("LD_LIBRARY_PATH", "/elsewhere")
    with trt.linkable("tensorrt_rtx") as environment:
        folder, *rest = environment["LD_LIBRARY_PATH"].split(":")
        (link,) = trt.Path(folder).iterdir()
        assert link.name == "libtensorrt_rtx.so"
        assert link.resolve().is_file()
        assert rest == ["/elsewhere"]
    assert not trt.Path(folder).exists()
    with trt.linkable("tensorrt") as environment:
        assert environment == {}
