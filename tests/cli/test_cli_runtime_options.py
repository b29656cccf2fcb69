import click
import pytest
from click.testing import CliRunner

from nd_deploy.cli.runtime_options import runtime_options
from nd_deploy.compat import trt
from nd_deploy.errors import InputError
from nd_deploy.runtime.options import RunOptions
from nd_deploy.runtime.tensorrt.device import NoDevice, find_device


@pytest.fixture
def given():
    """Run a command of these options alone; returns what it is given."""

    def run(*arguments):
        found = {}

        @click.command()
        @runtime_options
        def command(runtime, how):
            found.update(runtime=runtime, how=how)

        result = CliRunner().invoke(command, arguments)
        if isinstance(result.exception, InputError):
            raise result.exception
        assert result.exit_code == 0, result.output
        return found["runtime"], found["how"]

    return run


def test_the_cpu_is_the_default(given):
    assert given() == ("ort-cpu", RunOptions())


def test_every_flag_arrives(given, tmp_path):
    engine, plugin, other = (tmp_path / name for name in ("e.engine", "p.so", "q.so"))
    runtime, how = given(
        *("--runtime", "tensorrt", "--tf32", "--cuda-graph", "--trust-unrecorded"),
        *("--engine", str(engine), "--plugin", str(plugin), "--plugin", str(other)),
        *("--option", "workspace=2GiB", "--option", "label=a=b"),
        *("--batch", "1:8:32", "--shape", "x=1x3"),
    )
    assert runtime == "tensorrt"
    assert how == RunOptions(
        options={"workspace": "2GiB", "label": "a=b"},
        plugins=(plugin, other),
        tf32=True,
        cuda_graph=True,
        engine=engine,
        trust_unrecorded=True,
        batch="1:8:32",
        shapes=("x=1x3",),
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["threads"], "--option threads is no KEY=VALUE"),
        (["=4"], "--option =4 is no KEY=VALUE"),
        (["threads=4", "threads=5"], "--option threads is given twice"),
    ],
)
def test_an_option_that_is_no_pair_is_refused(given, options, said):
    with pytest.raises(InputError, match=said):
        given(*(part for option in options for part in ("--option", option)))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--tf32"], "--tf32 means nothing to --runtime ort-cpu"),
        (["--runtime", "ort-cuda", "--batch", "8"], "--batch means nothing to --runtime ort-cuda"),
        (["--runtime", "tensorrt", "--engine", "e", "--batch", "8"], "for building an engine"),
    ],
)
@pytest.mark.parametrize("command", ["run", "verify"])
def test_what_makes_no_sense_ends_with_a_remedy(bundle, invoke, command, arguments, said):
    images = ["a.png"] if command == "run" else []
    result = invoke(command, bundle, *images, *arguments, code=1)
    assert said in result.stderr.splitlines()[0]
    assert result.stderr.splitlines()[1].startswith("  ")


def test_an_option_that_the_runtime_does_not_have_lists_those_it_has(bundle, invoke):
    result = invoke("run", bundle, "a.png", "--option", "thread=4", code=1)
    assert "no option 'thread'" in result.stderr
    assert "choose from threads" in result.stderr


@pytest.mark.tensorrt
def test_an_engine_is_not_built_where_it_could_not_run(bundle, invoke, monkeypatch):
    if trt.RTX not in trt.installed():
        pytest.skip("needs tensorrt_rtx")
    if not isinstance(find_device(), NoDevice):
        pytest.skip("there is a GPU")
    monkeypatch.setattr("nd_deploy.runtime.open_tensorrt.engine_for", None)
    arguments = ("--runtime", "tensorrt-rtx", "--batch", "1")
    result = invoke("run", bundle, "a.png", *arguments, code=3)
    assert "no GPU can be used" in result.stderr


def test_a_runtime_that_does_not_exist_lists_those_that_do(bundle, invoke):
    result = invoke("verify", bundle, "--runtime", "cuda", code=1)
    assert "'ort-cuda'" in result.stderr
    assert "'tensorrt-rtx'" in result.stderr
