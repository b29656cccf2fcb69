import json
import shlex

import pytest
from click.testing import CliRunner

from nd_deploy.cli.export_trtexec import export_trtexec_command
from nd_deploy.errors import InputError
from nd_deploy.report.json_file import read_profile

RUN = {
    "startEnqMs": 200.0,
    "endEnqMs": 200.25,
    "h2dMs": 0,
    "computeMs": 1.5,
    "d2hMs": 0,
    "latencyMs": 1.5,
}


@pytest.fixture
def run():
    def invoked(*arguments):
        words = [str(argument) for argument in arguments]
        result = CliRunner().invoke(export_trtexec_command, words)
        if result.exception is not None:
            raise result.exception
        return result

    return invoked


@pytest.fixture
def refuse(run):
    def refused(*arguments):
        with pytest.raises(InputError) as caught:
            run(*arguments)
        return str(caught.value)

    return refused


@pytest.fixture
def times(tmp_path):
    path = tmp_path / "times.json"
    path.write_text(json.dumps([RUN] * 200))
    return path


class TestCommands:
    def test_every_batch_has_a_line_that_a_shell_can_run(self, run, bundle):
        lines = run(bundle, "--batch", "1,8").stdout.splitlines()
        words = [shlex.split(line) for line in lines]
        assert [line[0] for line in words] == ["trtexec", "trtexec"]
        shapes = [word for line in words for word in line if word.startswith("--shapes=")]
        assert shapes == ["--shapes=image:1x1x2x2", "--shapes=image:8x1x2x2"]
        assert all(f"--onnx={bundle / 'model.onnx'}" in line for line in words)

    def test_versions_ask_for_the_same_in_their_own_words(self, run, bundle):
        old, new = (run(bundle, "--batch", 1, "--trt", version).stdout for version in ("10", "11"))
        assert "--stronglyTyped" in old
        assert "--noDataTransfers" in old
        assert "CudaGraph" not in old
        assert "--noCudaGraph" in new
        assert "--stronglyTyped" not in new
        assert "DataTransfers" not in new

    def test_options_reach_the_command(self, run, bundle):
        line = run(
            *(bundle, "--batch", 4, "--trt", "11", "--tf32", "--cuda-graph", "--transfers"),
            *("--plugin", "my nd.so", "--rounds", 4, "--seconds", "0.5", "--warmup", 1),
        ).stdout
        words = shlex.split(line)
        assert "--noTF32" not in words
        assert "--noCudaGraph" not in words
        assert {"--includeDataTransfers", "--dynamicPlugins=my nd.so"} <= set(words)
        assert {"--duration=2", "--warmUp=1000", "--iterations=12"} <= set(words)

    def test_another_precision_is_built_by_nd_deploy(self, run, bundle):
        build, line = run(bundle, "--batch", 8, "--precision", "fp16").stdout.splitlines()
        assert build.startswith(f"nd-deploy build {bundle} ")
        assert "--loadEngine=out-b8-float16.engine" in line

    def test_an_onnx_file_will_do(self, run, bundle):
        line = run(bundle / "model.onnx", "--batch", 2).stdout
        assert "--exportTimes=model-b2-times.json" in line

    def test_what_is_wrong_is_told(self, refuse, bundle, tmp_path):
        assert "--batch 1:8:32" in refuse(bundle)
        assert "--batch 0" in refuse(bundle, "--batch", 0)
        assert "'many' makes no sense" in refuse(bundle, "--batch", "many")
        assert "--rounds is 0" in refuse(bundle, "--batch", 1, "--rounds", 0)
        assert "does not exist" in refuse(tmp_path / "absent", "--batch", 1)

    def test_what_is_of_import_needs_it(self, refuse, bundle):
        for option in ("-o", "--import-profile", "--import-layers", "--import-log"):
            assert "which is not given" in refuse(bundle, "--batch", 1, option, "x.json")


class TestImport:
    def test_the_result_is_shown_with_what_there_is_to_doubt(self, run, bundle, times):
        result = run(bundle, "--batch", 8, "--import", times)
        heading, line = result.stdout.strip().splitlines()
        assert heading.split()[:3] == ["batch", "model", "runtime"]
        assert line.split()[:4] == ["8", "out", "tensorrt", "1.50"]
        assert "without the launch" in result.stderr

    def test_the_result_is_written_as_a_measurement(self, run, bundle, times, tmp_path):
        layers = tmp_path / "profile.json"
        layers.write_text('[{"count": 9}, {"name": "layers.0 + relu", "medianMs": 0.5}]')
        output = tmp_path / "result.json"
        run(
            *(bundle, "--batch", 8, "--cuda-graph", "--import", times, "--import", times),
            *("--import-profile", layers, "-o", output),
        )
        profile = read_profile(output)
        (row,) = profile.rows
        assert str(row.contestant) == "out, tensorrt, batch 8, CUDA graph"
        assert row.latency.p50 == pytest.approx(1.5e-3)
        assert [(layer.nd_layer, layer.seconds) for layer in row.layers] == [("layers.0", 5e-4)]
        assert profile.method.openings == 2
        assert profile.models[0].kind == "trtexec"
        assert profile.models[0].nd_layers == 4

    def test_one_batch_at_a_time(self, refuse, bundle, times):
        assert "--batch names 2" in refuse(bundle, "--batch", "1,8", "--import", times)

    def test_an_output_of_no_format_is_refused_before_anything_is_shown(
        self, refuse, bundle, times, tmp_path
    ):
        said = refuse(bundle, "--batch", 8, "--import", times, "-o", tmp_path / "result.xyz")
        assert ".xyz" in said

    def test_a_broken_file_is_named(self, refuse, bundle, tmp_path):
        (tmp_path / "t.json").write_text("[{")
        assert "t.json" in refuse(bundle, "--batch", 8, "--import", tmp_path / "t.json")


def test_its_help_needs_no_model(run):
    assert "--import-profile" in run("--help").stdout
