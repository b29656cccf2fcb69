"""ONNX Runtime reads whether it may send telemetry when it is imported, so that comes second."""

import ast
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from served_bundle import write
from whole_server import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
VARIABLE = "ORT_DISABLE_TELEMETRY"
OFF, RUNTIME = "telemetry is off", "ONNX Runtime is imported"

# Python runs it at its start: it writes down the variable when somebody asks for ONNX Runtime.
WITNESS = f"""
import os, sys
from pathlib import Path

class Witness:
    def find_spec(self, name, path=None, target=None):
        if name == "onnxruntime":
            with Path(os.environ["WITNESS"]).open("a") as file:
                file.write(os.environ.get({VARIABLE!r}, "unset") + "\\n")
        return None

sys.meta_path.insert(0, Witness())
"""


def events(file: Path, seen: frozenset[Path] = frozenset()) -> Iterator[str]:
    """What a script does about ONNX Runtime, in order; its functions run once it is imported."""
    tree = ast.parse(file.read_text())
    later = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            later.append(node)
        else:
            yield from _of(node, file, seen | {file})
    for node in later:
        yield from _of(node, file, seen | {file})


def _of(node: ast.AST, file: Path, seen: frozenset[Path]) -> Iterator[str]:
    for each in ast.walk(node):
        if isinstance(each, ast.Constant) and each.value == VARIABLE:
            yield OFF
        for name in _imported(each):
            yield from _of_module(name, file, seen)


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []


def _of_module(name: str, file: Path, seen: frozenset[Path]) -> Iterator[str]:
    if name.split(".")[0] == "nd_deploy":
        yield OFF
    elif name.split(".")[0] == "onnxruntime":
        yield RUNTIME
    else:
        beside = file.parent.joinpath(*name.split(".")).with_suffix(".py")
        if beside.is_file() and beside not in seen:
            yield from events(beside, seen)


SCRIPTS = [
    file
    for folder in ("tools", "docs", "plugins", "models")
    for file in sorted((ROOT / folder).rglob("*.py"))
    if "__name__ ==" in file.read_text()
]


@pytest.mark.parametrize("script", SCRIPTS, ids=[str(each.relative_to(ROOT)) for each in SCRIPTS])
def test_a_script_turns_it_off_before_it_imports_onnx_runtime(script):
    found = list(events(script))
    assert RUNTIME not in found or found[0] == OFF


def test_the_check_tells_a_script_that_does_not(tmp_path):
    (tmp_path / "inner.py").write_text("import onnxruntime\nimport nd_deploy\n")
    script = tmp_path / "script.py"
    script.write_text("def f():\n    import nd_deploy\nimport inner\n")
    assert list(events(script)) == [RUNTIME, OFF, OFF]


def test_tests_turn_it_off_before_any_of_them_imports_it():
    assert list(events(ROOT / "tests" / "conftest.py")) == [OFF]


def test_texts_that_become_scripts_turn_it_off():
    """Such as what a child process runs, or what an exporter writes."""
    for file in sorted((ROOT / "nd_deploy").rglob("*.py")):
        text = file.read_text()
        tree = ast.parse(text) if "import onnxruntime" in text else ast.Module([], [])
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and "import onnxruntime" in str(node.value):
                assert VARIABLE in node.value or "nd_deploy" in node.value, file


@pytest.fixture
def witnessed(tmp_path):
    """Run Python, and give what the variable was whenever ONNX Runtime was asked for."""
    (tmp_path / "sitecustomize.py").write_text(WITNESS)
    witness = tmp_path / "witness"
    environment = {key: value for key, value in os.environ.items() if key != VARIABLE}
    environment |= {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "WITNESS": str(witness)}

    def run(*arguments):
        subprocess.run(
            [sys.executable, *map(str, arguments)],
            env=environment,
            capture_output=True,
            check=False,
            timeout=PATIENCE,
        )
        return set(witness.read_text().split())

    return run


def test_a_program_of_the_users_has_it_off(witnessed):
    program = "from nd_deploy.runtime import open_ort; import onnxruntime"
    assert witnessed("-c", program) == {"1"}


def test_the_servers_process_has_it_off(witnessed, tmp_path):
    bundle = write(tmp_path / "tiny")
    # So that it ends once its model has been loaded.
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ports = ("--http-port", 0, "--grpc-port", taken.getsockname()[1])
        assert witnessed("-m", "nd_deploy", "serve", bundle, *ports) == {"1"}
