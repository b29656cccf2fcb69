import shlex
import subprocess
import sys

import pytest
from click.testing import CliRunner

from nd_deploy.cli.export_triton import export_triton_command
from nd_deploy.errors import BundleError, InputError


@pytest.fixture
def run():
    def invoked(*arguments):
        words = [str(argument) for argument in arguments]
        result = CliRunner().invoke(export_triton_command, words)
        if result.exception is not None:
            raise result.exception
        return result

    return invoked


def test_every_file_is_told_and_how_to_serve_them(run, bundle, tmp_path):
    result = run(bundle, "-o", tmp_path / "repo", "--name", "net", "--accelerator", "cuda")
    files = [line.split()[0] for line in result.stdout.splitlines()]
    assert files == [
        str(tmp_path / "repo" / name)
        for name in ("net/1/model.onnx", "net/config.pbtxt", "net/labels.txt", "nd_manifest.json")
    ]
    words = shlex.split(result.stderr.removeprefix("serve it with: "))
    assert words[:3] == ["docker", "run", "--rm"]
    assert {"--gpus", f"{tmp_path / 'repo'}:/models:ro", "127.0.0.1:8000:8000"} <= set(words)
    assert "nvcr.io/nvidia/tritonserver:26.10-py3" in words
    assert "ORT_DISABLE_TELEMETRY=1" in words


def test_files_that_say_themselves_how_to_be_used_are_pointed_at(run, bundle, tmp_path):
    result = run(bundle, "-o", tmp_path / "repo", "--compose", "--kserve")
    told = result.stderr.splitlines()
    assert [line.split()[4] for line in told] == [
        str(tmp_path / "repo/compose.yaml"),
        str(tmp_path / "repo/kserve.yaml"),
    ]
    assert "docker compose up" in (tmp_path / "repo/compose.yaml").read_text()
    assert "kubectl apply -f kserve.yaml" in (tmp_path / "repo/kserve.yaml").read_text()


def test_options_reach_the_configuration(run, bundle, tmp_path):
    options = ("--max-batch", 6, "--threads", 3, "--instances", 2, "--accelerator", "tensorrt")
    shape = ("--shape", "image=1x1x2x2:1x1x2x2:6x1x2x2", "--tf32", "--storage", "s3://b/r")
    run(bundle, "-o", tmp_path / "repo", *options, *shape, "--kserve")
    config = (tmp_path / "repo/out/config.pbtxt").read_text()
    assert "max_batch_size: 6" in config
    assert "count: 2" in config
    assert 'value: "image:6x1x2x2"' in config
    assert "s3://b/r" in (tmp_path / "repo/kserve.yaml").read_text()


def test_what_is_wrong_is_told(run, bundle, tmp_path):
    with pytest.raises(BundleError, match=r"absent does not exist"):
        run(tmp_path / "absent", "-o", tmp_path / "repo")
    run(bundle, "-o", tmp_path / "repo")
    with pytest.raises(InputError, match="exists already"):
        run(bundle, "-o", tmp_path / "repo")
    run(bundle, "-o", tmp_path / "repo", "--overwrite")
    with pytest.raises(InputError, match="goes with --engine"):
        run(bundle, "-o", tmp_path / "new", "--accelerator", "plan")
    with pytest.raises(InputError, match="critical holes"):
        run(bundle, "-o", tmp_path / "new", "--image", "nvcr.io/nvidia/tritonserver:24.10-py3")
    assert not (tmp_path / "new").exists()


def test_the_help_needs_no_heavy_package():
    script = (
        "import sys\n"
        "import nd_deploy.cli.export_triton, nd_deploy.cli.export_ray\n"
        "heavy = {'numpy', 'onnx', 'torch', 'onnxruntime', 'ray', 'yaml'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]"
