import importlib
import json
import subprocess
import sys
import time

import click
import pytest

import nd_deploy
from nd_deploy.cli.main import COMMANDS, main
from nd_deploy.errors import BackendError, InputError, ParityError

HEAVY = {"torch", "onnx", "onnxruntime", "numpy", "rich", "PIL", "onnx_graphsurgeon"}


def nd_deploy_command(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "nd_deploy", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        **options,
    )


@pytest.fixture
def failing(monkeypatch, invoke):
    """Make `doctor` raise something, and run it."""

    def run(error, code):
        def command():
            raise error

        monkeypatch.setattr(
            "nd_deploy.cli.doctor.doctor_command", click.Command("doctor", callback=command)
        )
        return invoke("doctor", code=code)

    return run


def test_the_help_names_every_command_and_what_it_does(invoke):
    for arguments in (["--help"], []):
        output = invoke(*arguments).output
        assert all(f"\n  {command} " in output for command in COMMANDS)
        assert "..." not in output.replace("[ARGS]...", "")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(invoke, command):
    assert f"Usage: nd-deploy {command}" in invoke(command, "--help").output


def test_the_help_imports_nothing_heavy():
    program = (
        "import sys; from nd_deploy.cli.main import main\n"
        "try: main(['--help'])\n"
        "finally: print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0
    assert not HEAVY & set(done.stderr.split())


def test_the_help_comes_at_once():
    def seconds():
        start = time.perf_counter()
        nd_deploy_command("--help")
        return time.perf_counter() - start

    assert min(seconds() for _ in range(3)) < 0.5


def module_of(command):
    return command.replace("-", "_")


def test_commands_import_nothing_heavy_before_they_run():
    for command in map(module_of, COMMANDS):
        program = (
            f"import sys, nd_deploy.cli.{command}; sys.exit(bool({HEAVY!r} & set(sys.modules)))"
        )
        subprocess.run([sys.executable, "-c", program], check=True)


def test_the_version_is_the_package_s(invoke):
    assert invoke("--version").output == f"nd-deploy, version {nd_deploy.__version__}\n"


def test_the_installed_command_and_the_module_are_the_same():
    done = nd_deploy_command("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert nd_deploy.__version__ in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [["frobnicate"], ["--frobnicate"], ["convert"], ["run", "x", "--top-k", "none"], ["verify"]],
)
def test_wrong_usage_is_the_user_s_mistake_and_not_a_failed_parity(invoke, arguments):
    result = invoke(*arguments, code=1)
    assert result.stderr.startswith("error: ")
    assert "--help" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(("kind", "code"), [(InputError, 1), (ParityError, 2), (BackendError, 3)])
def test_a_mistake_ends_with_its_message_its_remedy_and_its_code(failing, kind, code):
    result = failing(kind("it is wrong", "do this\nand that"), code)
    assert result.stderr == "error: it is wrong\n  do this\n  and that\n"
    assert result.stdout == ""


def test_an_interrupt_says_so(failing):
    result = failing(KeyboardInterrupt(), 130)
    assert "interrupted; nothing was written" in result.stderr


def test_a_bug_keeps_its_traceback(failing):
    with pytest.raises(ZeroDivisionError):
        failing(ZeroDivisionError(), 1)


def test_a_reader_that_leaves_is_no_error(bundle):
    command = f"{sys.executable} -m nd_deploy inspect {bundle} | true"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""


def test_a_missing_bundle_is_one_message_without_a_traceback(tmp_path):
    for command in ("inspect", "verify", "run"):
        arguments = [command, tmp_path / "none", *(["a.png"] if command == "run" else [])]
        done = nd_deploy_command(*arguments)
        assert done.returncode == 1
        assert done.stderr.splitlines()[0] == f"error: {tmp_path / 'none'} does not exist"
        assert "Traceback" not in done.stderr


def test_every_command_is_found_by_its_name():
    for command in COMMANDS:
        module = importlib.import_module(f"nd_deploy.cli.{module_of(command)}")
        assert getattr(module, f"{module_of(command)}_command").name == command
    assert main.get_command(click.Context(main), "common") is None


def test_json_goes_to_stdout_alone(bundle):
    done = nd_deploy_command("inspect", bundle, "--json")
    assert json.loads(done.stdout)["manifest"]["network"] == "tiny"
    assert done.stderr == ""
