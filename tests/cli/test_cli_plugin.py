import json

import pytest

from nd_deploy.errors import MissingDependencyError
from nd_deploy.plugins import check
from nd_deploy.plugins.check import PluginReport, Problem
from nd_deploy.plugins.library import OPS, PluginLibrary, file_name
from nd_deploy.plugins.receipt import Receipt, receipt_path

RECEIPT = Receipt("0" * 64, "0.1.0", "1" * 64, ("80", "90"), "90", "10.3.0", "13.0.88", False)


@pytest.fixture
def built(tmp_path):
    return PluginLibrary(tmp_path / "library.so", "0" * 64, RECEIPT)


@pytest.fixture
def asked(monkeypatch, built):
    """What `build_library` is called with, instead of compiling."""
    calls = []

    def build(output, options, progress):
        calls.append((output, options))
        progress("compiling")
        return built

    monkeypatch.setattr("nd_deploy.plugins.build.build_library", build)
    return calls


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ND_DEPLOY_CACHE", str(tmp_path))
    monkeypatch.delenv("ND_DEPLOY_PLUGIN", raising=False)
    folder = tmp_path / "plugins"
    folder.mkdir()
    return folder


def test_build_says_what_it_does_and_what_came_of_it(asked, built, invoke):
    result = invoke("plugin", "build")
    assert result.stderr == "compiling\n"
    lines = [line.split(maxsplit=1) for line in result.stdout.splitlines()]
    assert ["library", str(built.path)] in lines
    assert ["headers", "TensorRT 10.3.0"] in lines
    assert "80, 90, and newer than 90" in result.stdout


def test_build_passes_its_options_on(asked, tmp_path, invoke):
    arguments = ["--output", tmp_path, "--headers", "inc", "--archs", "80,90", "--jobs", "3"]
    invoke("plugin", "build", *arguments, "--self-register")
    ((output, options),) = asked
    assert output == tmp_path
    assert str(options.headers) == "inc"
    assert (options.archs, options.jobs, options.self_register) == (("80", "90"), 3, True)
    assert options.fetch_tag is None


@pytest.mark.parametrize(("flag", "tag"), [([], None), (["v11.1"], "v11.1")])
def test_headers_are_fetched_at_a_tag(asked, invoke, flag, tag):
    invoke("plugin", "build", "--fetch-headers", *flag)
    ((_, options),) = asked
    assert options.fetch_tag == (tag or "v10.3.0")


def test_build_as_json_is_the_receipt(asked, built, invoke):
    document = json.loads(invoke("plugin", "build", "--json").stdout)
    assert document == {
        "library": str(built.path),
        "sha256": built.sha256,
        "receipt": RECEIPT.as_dict(),
    }


def test_what_is_missing_is_one_message(monkeypatch, invoke):
    def build(*_):
        raise MissingDependencyError("nvcc is missing", "install it")

    monkeypatch.setattr("nd_deploy.plugins.build.build_library", build)
    result = invoke("plugin", "build", code=1)
    assert result.stderr == "error: nvcc is missing\n  install it\n"


def test_list_names_the_plugins_and_says_how_to_build(cache, invoke):
    output = invoke("plugin", "list").output
    assert all(op in output for op in OPS)
    assert f"no library in {cache}" in output
    assert "nd-deploy plugin build" in output


def test_list_tells_a_damaged_library(cache, invoke):
    path = cache / file_name()
    path.write_text("not a library")
    assert f"damaged: {path}" in invoke("plugin", "list").output
    document = json.loads(invoke("plugin", "list", "--json").stdout)
    assert document["libraries"] == []
    assert document["damaged"][0]["library"] == str(path)
    assert document["plugins"] == list(OPS)


def test_check_fails_where_nothing_has_been_built(cache, invoke):
    result = invoke("plugin", "check", code=3)
    assert "has not been built" in result.stderr
    assert "nd-deploy plugin build" in result.stderr


@pytest.fixture
def checked(monkeypatch, built):
    """Have a check end with these problems."""

    def prepare(*problems):
        report = PluginReport(built, ((OPS[0], "1", "nd_deploy"),), {"tensorrt": "10.3"}, problems)
        monkeypatch.setattr("nd_deploy.plugins.library.find_library", lambda *_: built)
        monkeypatch.setattr(check, "check_library", lambda _: report)

    return prepare


def test_check_lists_the_plugins_and_who_takes_them(checked, invoke):
    checked()
    output = invoke("plugin", "check").output
    assert any(line.split() == [OPS[0], "1", "nd_deploy"] for line in output.splitlines())
    assert "tensorrt 10.3 takes it" in output


def test_check_shows_what_it_found_before_it_fails(checked, invoke):
    checked(Problem("lacks NDX", "build it"), Problem("is odd", "do not"))
    result = invoke("plugin", "check", code=3)
    assert OPS[0] in result.stdout
    assert "lacks NDX; is odd" in result.stderr
    assert "build it" in result.stderr
    document = json.loads(invoke("plugin", "check", "--json", code=3).stdout)
    assert [problem["what"] for problem in document["problems"]] == ["lacks NDX", "is odd"]


def test_check_of_a_file_that_is_no_library_is_the_user_s_mistake(tmp_path, invoke):
    path = tmp_path / "plugin.so"
    path.write_text("text")
    assert "is no plugin library" in invoke("plugin", "check", path, code=1).stderr


def test_the_group_alone_shows_its_help(invoke):
    output = invoke("plugin").output
    assert all(f"\n  {command} " in output for command in ("build", "list", "check"))


def test_a_receipt_lies_beside_its_library(built):
    assert receipt_path(built.path).name == "library.json"
