import importlib.metadata
import json
import os
import subprocess
import sys
import types

import pytest

from nd_deploy import compat
from nd_deploy.errors import MissingDependencyError

PROBE = """
import json, os, sys
import nd_deploy
print(json.dumps([sorted(sys.modules), os.environ["ORT_DISABLE_TELEMETRY"]]))
"""


def _import_in_a_fresh_interpreter(**environment):
    clean = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        env=clean | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    modules, telemetry = json.loads(done.stdout)
    return set(modules), telemetry


def _pretend_installed(monkeypatch, versions):
    def version(name):
        if name not in versions:
            raise importlib.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(importlib.metadata, "version", version)


def test_importing_the_package_imports_nothing_heavy_and_turns_telemetry_off():
    modules, telemetry = _import_in_a_fresh_interpreter()
    heavy = {"torch", "onnx", "onnxruntime", "tensorrt", "numpy", "click", "rich", "safetensors"}
    assert modules & heavy == set()
    assert telemetry == "1"


def test_a_telemetry_setting_of_the_user_stays():
    assert _import_in_a_fresh_interpreter(ORT_DISABLE_TELEMETRY="0")[1] == "0"


def test_require_returns_the_module():
    assert compat.require("json", "cpu") is json


def test_an_absent_module_names_the_extra_that_brings_it():
    with pytest.raises(MissingDependencyError) as caught:
        compat.require("nd_deploy_absent.sub", "cpu")
    assert caught.value.problem == "`nd_deploy_absent.sub` is not installed"
    assert "pip install 'nd-deploy[cpu]'" in caught.value.remedy


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("raise OSError('libcudart.so.13: cannot open')", "OSError: libcudart.so.13"),
        ("import nd_deploy_absent", "No module named 'nd_deploy_absent'"),
        ("raise ImportError('numpy ABI')", "ImportError: numpy ABI"),
    ],
)
def test_a_broken_installation_is_not_called_absent(tmp_path, monkeypatch, source, said):
    (tmp_path / "nd_deploy_broken.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingDependencyError) as caught:
        compat.require("nd_deploy_broken", "gpu")
    assert "installed but cannot be imported" in caught.value.problem
    assert said in caught.value.problem
    assert "--force-reinstall 'nd-deploy[gpu]'" in caught.value.remedy


def test_an_onnxruntime_emptied_by_its_sibling_is_an_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", types.ModuleType("onnxruntime"))
    with pytest.raises(MissingDependencyError, match="overwrote each other"):
        compat.onnxruntime()


def test_both_onnxruntimes_in_one_environment_are_a_conflict(monkeypatch):
    _pretend_installed(monkeypatch, {"onnxruntime": "1.31.1", "onnxruntime-gpu": "1.30.0"})
    conflict = compat.onnxruntime_conflict()
    assert "onnxruntime 1.31.1 and onnxruntime-gpu 1.30.0" in conflict
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in conflict


@pytest.mark.parametrize("installed", [{}, {"onnxruntime": "1"}, {"onnxruntime-gpu": "1"}])
def test_one_onnxruntime_or_none_is_no_conflict(monkeypatch, installed):
    _pretend_installed(monkeypatch, installed)
    assert compat.onnxruntime_conflict() is None


def test_complaints_while_preloading_cuda_stay_off_stdout(monkeypatch, capsys):
    fake = types.ModuleType("onnxruntime")
    fake.InferenceSession = object
    fake.preload_dlls = lambda: sys.stdout.write("Failed to load libcudnn.so.9")
    monkeypatch.setitem(sys.modules, "onnxruntime", fake)
    compat.preload_cuda()
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "libcudnn.so.9" in printed.err
