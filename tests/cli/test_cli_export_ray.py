import pytest
from click.testing import CliRunner

from nd_deploy.cli.export_ray import export_ray_command
from nd_deploy.errors import BundleError, InputError


@pytest.fixture
def run():
    def invoked(*arguments):
        words = [str(argument) for argument in arguments]
        result = CliRunner().invoke(export_ray_command, words)
        if result.exception is not None:
            raise result.exception
        return result

    return invoked


def test_the_file_is_told_and_how_to_run_it(run, bundle, tmp_path):
    result = run(bundle, "-o", tmp_path / "app")
    assert result.stdout.split() == [str(tmp_path / "app/serve.yaml")]
    assert result.stderr.strip() == f"run it with: serve run {tmp_path / 'app/serve.yaml'}"


def test_options_reach_the_configuration(run, bundle, tmp_path):
    options = ("--replicas", "2:6", "--cpus", 3, "--port", 9001, "--name", "net")
    run(bundle, "-o", tmp_path / "app", *options)
    text = (tmp_path / "app/serve.yaml").read_text()
    for line in ("min_replicas: 2", "max_replicas: 6", "num_cpus: 3", "port: 9001", "name: net"):
        assert line in text


def test_what_is_wrong_is_told(run, bundle, tmp_path):
    with pytest.raises(BundleError, match="absent does not exist"):
        run(tmp_path / "absent", "-o", tmp_path / "app")
    with pytest.raises(InputError, match="--replicas 4:1 is no range"):
        run(bundle, "-o", tmp_path / "app", "--replicas", "4:1")
    run(bundle, "-o", tmp_path / "app")
    with pytest.raises(InputError, match="exists already"):
        run(bundle, "-o", tmp_path / "app")
    run(bundle, "-o", tmp_path / "app", "--overwrite")
