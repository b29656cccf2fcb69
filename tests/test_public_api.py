import importlib
import inspect
import json
import pkgutil
import subprocess
import sys

import pytest

import nd_deploy
from nd_deploy.cli.main import COMMANDS, main

PUBLIC = [
    "Bundle",
    "NdDeployError",
    "build",
    "convert",
    "export",
    "load_into",
    "open_runner",
    "profile",
    "read_bundle",
    "read_checkpoint",
    "recognise",
    "run_passes",
    "verify",
]


def test_the_public_names_are_these():
    assert nd_deploy.__all__ == PUBLIC


def test_the_commands_are_these():
    assert tuple(COMMANDS) == (
        "convert", "inspect", "verify", "build", "run", "profile", "report", "export-trtexec",
        "serve", "export-triton", "export-ray", "explain", "models", "plugin", "doctor"
    )  # fmt: skip
    assert main.list_commands(None) == list(COMMANDS)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_documented(name):
    found = getattr(nd_deploy, name)
    assert callable(found)
    text = inspect.getdoc(found)
    assert text
    if not inspect.isfunction(found):
        return
    parameters = inspect.signature(found).parameters
    assert "Args:" in text
    assert "Raises:" in text
    for parameter in parameters:
        many = parameters[parameter].kind is inspect.Parameter.VAR_KEYWORD
        shown = f"\n    {'**' if many else ''}{parameter}: "
        assert shown in text, f"{name} does not document {parameter}"
    assert "Returns:" in text or inspect.signature(found).return_annotation == "None"
    assert all(p.annotation is not p.empty for p in parameters.values())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_every_command_has_a_help_text(command):
    found = main.get_command(None, command)
    assert found.name == command
    assert found.help
    for parameter in found.params:
        if parameter.param_type_name == "option":
            assert parameter.help, parameter.name


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'nd_deploy' has no attribute 'frobnicate'"):
        nd_deploy.frobnicate  # noqa: B018


def test_no_submodule_hides_a_public_function():
    """Importing nd_deploy.x binds x in the package, whatever is called so."""
    for module in pkgutil.walk_packages(nd_deploy.__path__, "nd_deploy."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in PUBLIC:
        assert not inspect.ismodule(getattr(nd_deploy, name)), name
    assert inspect.signature(nd_deploy.convert).parameters["module"]


def imported_by(code):
    """The modules that are loaded once code has run in a fresh interpreter."""
    program = f"import json, sys\n{code}\nprint(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stderr.splitlines()[-1]))


def test_the_help_imports_nothing_heavy():
    code = "from nd_deploy.cli.main import main\ntry: main(['--help'])\nexcept SystemExit: pass"
    loaded = imported_by(code)
    assert "nd_deploy.cli.main" in loaded
    heavy = {"torch", "onnx", "onnxruntime", "numpy", "onnx_graphsurgeon", "tensorrt", "PIL"}
    assert not loaded & heavy


def test_folding_and_passes_never_import_torch():
    names = [
        f"nd_deploy.{package}.{module.name}"
        for package in ("fold", "passes")
        for module in pkgutil.iter_modules(importlib.import_module(f"nd_deploy.{package}").__path__)
    ]
    assert len(names) > 10
    code = f"import importlib\nsys.modules['torch'] = None\nfor name in {names}:\n"
    loaded = imported_by(code + "    importlib.import_module(name)")
    assert set(names) <= loaded
    assert "onnxruntime" not in loaded


def test_what_runs_a_bundle_never_imports_torch():
    names = ["nd_deploy.bundle", "nd_deploy.parity.verify", "nd_deploy.runtime.onnxruntime",
             "nd_deploy.models", "nd_deploy.cli.verify", "nd_deploy.cli.run",
             "nd_deploy.cli.inspect", "nd_deploy.cli.doctor"]  # fmt: skip
    code = f"import importlib\nfor name in {names}: importlib.import_module(name)"
    assert "torch" not in imported_by(code)
