"""Building the plugin library: nothing half-built is left, and what was built is found."""

import json
import shutil
import subprocess

import pytest
from plugin_sources import tensorrt_headers
from small_libraries import plugin_source

from nd_deploy.errors import BackendError, InputError, MissingDependencyError
from nd_deploy.plugins import build, build_library, find_library, library, receipt, toolchain
from nd_deploy.plugins.build import BuildOptions


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_library_is_found_after_it_was_built(simulated, tmp_path):
    simulated()
    with pytest.raises(BackendError, match="has not been built"):
        find_library()
    told = []
    made = build_library(progress=told.append)
    assert find_library() == made
    assert files(tmp_path / "cache" / "plugins") == files(made.path.parent)
    assert files(made.path.parent) == ["libnd_deploy_plugin.json", "libnd_deploy_plugin.so"]
    assert any("80, 90" in line for line in told)


def test_the_receipt_says_how_the_library_was_built(simulated):
    simulated()
    made = build_library()
    fields = json.loads(made.path.with_suffix(".json").read_text())
    assert fields == made.receipt.as_dict()
    assert fields["archs"] == ["80", "90"]
    assert (fields["ptx"], fields["nvcc"], fields["headers"]) == ("90", "12.6.1", "10.3.0")
    assert fields["sha256"] == made.sha256
    assert fields["self_register"] is False


def test_a_self_registering_library_lies_beside_the_other(simulated):
    simulated()
    plain = build_library()
    other = build_library(options=BuildOptions(self_register=True))
    assert plain.path.parent == other.path.parent
    assert find_library() == plain
    assert find_library(self_register=True) == other
    assert other.receipt.self_register


def test_what_does_not_compile_shows_its_error_and_leaves_the_old_library(simulated):
    simulated()
    made = build_library()
    simulated(fails=True)
    with pytest.raises(BackendError) as failure:
        build_library()
    assert "some.cu(3): error: identifier is undefined\nand why" in failure.value.problem
    assert "[1/2]" not in failure.value.problem
    log = made.path.parent / "build.log"
    assert str(log) in failure.value.remedy
    assert "[1/2] compiling" in log.read_text()
    assert find_library() == made
    simulated()
    build_library()
    assert files(log.parent) == ["libnd_deploy_plugin.json", "libnd_deploy_plugin.so"]


def test_a_library_that_is_not_sound_takes_nobody_s_place(simulated):
    simulated()
    made = build_library()
    simulated(source=plugin_source(interface_version=9))
    with pytest.raises(BackendError, match="another nd-deploy"):
        build_library()
    assert find_library() == made


def test_a_folder_that_cannot_be_made_is_the_user_s_mistake(simulated, tmp_path):
    simulated()
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be built in"):
        build_library(tmp_path / "file" / "folder")


# --- finding ---


def test_a_library_that_was_changed_is_refused(simulated):
    simulated()
    made = build_library()
    with made.path.open("ab") as file:
        file.write(b"changed")
    with pytest.raises(BackendError, match="is not the library that"):
        find_library()


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": 2}', '{"schema": 1, "sha256": 5}'])
def test_a_damaged_receipt_is_refused(simulated, text):
    simulated()
    made = build_library()
    made.path.with_suffix(".json").write_text(text)
    with pytest.raises(BackendError, match=r"receipt of .* is damaged"):
        find_library()


def test_a_library_of_other_sources_has_to_be_built_again(simulated, tmp_path, monkeypatch):
    simulated()
    made = build_library()
    shutil.copytree(receipt.SOURCES / "csrc", tmp_path / "changed" / "csrc")
    monkeypatch.setattr(receipt, "SOURCES", tmp_path / "changed")
    with pytest.raises(BackendError, match="other sources than this nd-deploy's, by nd-deploy"):
        find_library()
    made.path.with_suffix(".json").unlink()
    with pytest.raises(BackendError, match="other sources"):
        find_library()


def test_a_library_that_is_named_comes_first(simulated, tmp_path, monkeypatch):
    simulated()
    build_library()
    one, other = (build_library(tmp_path / name).path for name in ("one", "other"))
    monkeypatch.setenv(library.ENVIRONMENT, str(other))
    assert find_library().path == other
    assert find_library(one).path == one


def test_a_library_that_is_named_has_to_exist(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"the library .* is no file"):
        find_library(tmp_path / "absent.so")
    monkeypatch.setenv(library.ENVIRONMENT, str(tmp_path / "absent.so"))
    with pytest.raises(InputError, match="that ND_DEPLOY_PLUGIN names is no file"):
        find_library()


# --- for real ---

STUB = """#include "launchers.h"
int nd_channel_deconv(void const*, float const*, float const*, float const*, float const*, void*,
                      int, int64_t, int64_t, int64_t, int64_t, int, void*) { return 0; }
size_t nd_fast_deconv_dynamic_workspace(NdFastDeconvShape const*, int) { return 0; }
int nd_fast_deconv_dynamic(void const*, float const*, float const*, void*, void*, int,
                           NdFastDeconvShape const*, void*, size_t, void*) { return 0; }
size_t nd_channel_deconv_dynamic_workspace(int64_t, int64_t, int64_t, int64_t, int64_t, int) {
  return 0;
}
int nd_channel_deconv_dynamic(void const*, void*, int, int64_t, int64_t, int64_t, int64_t, int64_t,
                              float, int, int, void*, size_t, void*) { return 0; }
"""


def test_the_sources_build_into_a_library_that_shows_what_it_should(tmp_path, monkeypatch):
    """The kernels, which take long to compile, are left out."""
    headers = tensorrt_headers()
    try:
        toolchain.find_toolchain(headers)
    except MissingDependencyError as error:
        pytest.skip(error.problem)
    sources = tmp_path / "sources"
    shutil.copytree(build.SOURCES, sources, ignore=shutil.ignore_patterns("*.cu", "*.py"))
    (sources / "csrc" / "stub.cu").write_text(STUB)
    monkeypatch.setattr(build, "SOURCES", sources)
    made = build_library(tmp_path / "out", BuildOptions(headers=headers, archs=("80", "999")))
    assert made.receipt.archs == ("80",)
    listed = subprocess.run(
        ["nm", "-D", "--format=posix", made.path], capture_output=True, text=True, check=True
    )
    symbols = [line.split()[:2] for line in listed.stdout.splitlines()]
    shown = {name for name, kind in symbols if kind not in "Uw"}
    assert {"getCreators", "setLoggerFinder", "nd_error_text"} <= shown
    assert {name for name in shown if not name.startswith("nd_")} == {
        "getCreators",
        "setLoggerFinder",
    }
    needed = {name for name, kind in symbols if kind in "Uw"}
    assert not [name for name in needed if "nvinfer" in name or name.startswith(("cuda", "cu"))]
