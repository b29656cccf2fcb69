"""What trtexec writes, read back."""

import json
import os

import numpy as np
import pytest
from onnx import parser
from trtexec_files import LOG, profile_file, times_file

from nd_deploy.errors import InputError
from nd_deploy.profiling.contestant import Contestant
from nd_deploy.profiling.figures import LayerTime
from nd_deploy.profiling.layers.attribution import attribution_of
from nd_deploy.profiling.results import Method, Profile
from nd_deploy.profiling.trtexec.importing import Imported, read_trtexec
from nd_deploy.profiling.trtexec.layers_files import read_layers
from nd_deploy.profiling.trtexec.log_file import read_log
from nd_deploy.profiling.trtexec.times_file import read_times, resolution

CONTESTANT = Contestant("digits", "tensorrt", 8, cuda_graph=True)
RUNS = [1.0, 1.25, 1.5, 2.0, 1.0, 1.125, 1.0, 3.0]
MODEL = """
<ir_version: 10, opset_import: ["": 20]>
net (float[N, 4] x) => (float[N, 4] y) { [conv1] a = Relu (x) [node_relu] y = Relu (a) }
"""


@pytest.fixture
def write(tmp_path):
    def written(text, name="times.json"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return written


@pytest.fixture
def attribution():
    return attribution_of(parser.parse_model(MODEL), ("conv1",))


class TestTimes:
    def test_compute_is_the_gpu_s_and_latency_has_no_copies_in_it(self, write):
        times = read_times(write(times_file(RUNS, transfers=(0.5, 0.25))))
        assert np.allclose(times["compute"], np.array(RUNS) / 1000, rtol=1e-6)
        assert np.array_equal(times["latency"], times["compute"])

    def test_copies_are_metrics_of_their_own(self, write):
        times = read_times(write(times_file(RUNS, transfers=(0.5, 0.25))))
        assert np.allclose(times["h2d"], 0.5e-3)
        assert np.allclose(times["d2h"], 0.25e-3)

    def test_without_copies_there_is_no_time_of_any(self, write):
        assert not {"h2d", "d2h"} & set(read_times(write(times_file(RUNS))))

    def test_enqueue_is_between_its_moments_where_their_digits_tell(self, write):
        times = read_times(write(times_file(RUNS, enqueue=0.125, start=200)))
        assert np.allclose(times["enqueue"], 0.125e-3, atol=1e-6)

    def test_enqueue_is_left_out_where_they_do_not(self, write):
        # After ten seconds a moment of six digits is known to a tenth of a millisecond.
        assert "enqueue" not in read_times(write(times_file(RUNS, enqueue=0.125, start=10_000)))

    @pytest.mark.parametrize(
        ("moment", "last"), [(123.456, 1e-3), (999.999, 1e-3), (1000.0, 1e-2), (0.5, 1e-6), (0, 0)]
    )
    def test_the_last_of_six_digits(self, moment, last):
        assert resolution(moment) == pytest.approx(last)


class TestUnreadableTimes:
    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", "it is empty"),
            ("  \n", "it is empty"),
            ("[\n]", "it holds no run"),
            ("{}", "no list of objects"),
            ("[1, 2]", "no list of objects"),
            ("trtexec: command not found", "it is no JSON"),
            (times_file(RUNS)[:-20], "cut off"),
            (times_file(RUNS).replace("computeMs", "gpuMs"), "computeMs is None"),
            (times_file([1.0, -1.0]), "a time of latency is negative"),
            (times_file([1.0, 0.0]), "a run took no time"),
            (times_file(RUNS).replace('"h2dMs" : 0', '"h2dMs" : "soon"'), "h2dMs is 'soon'"),
            (times_file(RUNS).replace('"d2hMs" : 0', '"d2hMs" : NaN'), "NaN is no number"),
            (times_file(RUNS).replace('"d2hMs" : 0', '"d2hMs" : "NaN"'), "a time of d2h"),
        ],
    )
    def test_the_file_is_named_with_what_is_wrong(self, write, text, said):
        with pytest.raises(InputError, match=r"times\.json") as caught:
            read_times(write(text))
        assert said in caught.value.problem
        assert "--exportTimes" in caught.value.remedy

    def test_a_missing_file_and_one_that_is_no_text(self, tmp_path):
        (tmp_path / "engine").write_bytes(b"\xff\xfe\x00")
        for path in (tmp_path / "gone.json", tmp_path / "engine", tmp_path):
            with pytest.raises(InputError, match=path.name):
                read_times(path)


class TestLayers:
    def test_names_lead_to_nd_layers_and_times_are_medians(self, write, attribution):
        path = write(profile_file({"conv1 + node_relu": 0.5, "Reformatting CopyNode": 0.0625}))
        assert read_layers(path, attribution) == (
            LayerTime("conv1 + node_relu", "Relu + Relu", pytest.approx(0.5e-3), "conv1"),
            LayerTime("Reformatting CopyNode", "Reformat", pytest.approx(0.0625e-3)),
        )

    def test_the_engine_s_own_description_tells_what_a_name_does_not(self, write, attribution):
        profile = write(profile_file({"__myl_Relu_0": 0.5, "shuffle": 0.25}), "profile.json")
        layers = [
            {
                "Name": "__myl_Relu_0",
                "LayerType": "kgen",
                "Metadata": "[ONNX Layer: conv1]\x1e[ONNX Layer: node_relu]",
            },
            {"Name": "shuffle", "LayerType": "Shuffle", "Metadata": ""},
        ]
        information = write(json.dumps({"Layers": layers, "Bindings": ["x", "y"]}), "layers.json")
        assert read_layers(profile, attribution, information) == (
            LayerTime("__myl_Relu_0", "Relu + Relu", pytest.approx(0.5e-3), "conv1"),
            LayerTime("shuffle", "Shuffle", pytest.approx(0.25e-3)),
        )

    def test_names_alone_in_the_description_tell_nothing_more(self, write, attribution):
        profile = write(profile_file({"conv1": 0.5}), "profile.json")
        information = write('{"Layers": ["conv1"], "Bindings": []}', "layers.json")
        (layer,) = read_layers(profile, attribution, information)
        assert layer == LayerTime("conv1", "Relu", pytest.approx(0.5e-3), "conv1")

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", "it is empty"),
            ('[ { "count" : 3 } ]', "it names no layer"),
            (profile_file({"a": 1.0})[:-5], "cut off"),
            (profile_file({"a": 1.0}).replace("medianMs", "middleMs"), "medianMs is None"),
            (profile_file({"a": 1.0}).replace('"a"', "7"), "name is 7"),
            (profile_file({"a": 1.0}).replace('"medianMs" : 1', '"medianMs" : nan'), "no JSON"),
        ],
    )
    def test_a_bad_profile_is_named(self, write, attribution, text, said):
        with pytest.raises(InputError, match=r"profile\.json") as caught:
            read_layers(write(text, "profile.json"), attribution)
        assert said in caught.value.problem
        assert "--exportProfile" in caught.value.remedy

    @pytest.mark.parametrize("text", ["[]", "{}", '{"Layers": 3}'])
    def test_a_bad_description_is_named(self, write, attribution, text):
        profile = write(profile_file({"conv1": 0.5}), "profile.json")
        with pytest.raises(InputError, match=r"layers\.json") as caught:
            read_layers(profile, attribution, write(text, "layers.json"))
        assert "--exportLayerInfo" in caught.value.problem


class TestLog:
    def test_it_names_the_version_and_the_gpu_that_was_used(self, write):
        logged = read_log(write(LOG, "log"))
        assert logged.version == "10.3.0"
        assert logged.gpu.name == "NVIDIA H100 80GB HBM3"
        assert (logged.gpu.index, logged.gpu.compute_capability) == (1, "9.0")
        assert logged.gpu.memory_bytes == 81079 * 2**20

    def test_what_it_does_not_say_stays_unknown(self, write):
        logged = read_log(write("[I] TensorRT version: 11.1.0\n", "log"))
        assert (logged.version, logged.gpu) == ("11.1.0", None)

    def test_another_program_s_log_is_refused(self, write, tmp_path):
        with pytest.raises(InputError, match="names neither"):
            read_log(write("everything is fine\n", "log"))
        with pytest.raises(InputError, match="gone"):
            read_log(tmp_path / "gone")


class TestMeasurement:
    def test_one_start_is_one_opening_cut_into_turns(self, write):
        profile = read_trtexec(Imported(CONTESTANT, [write(times_file(RUNS))]), Method(rounds=4))
        (row,) = profile.rows
        assert row.contestant == CONTESTANT
        expected = [1.125e-3, 1.75e-3, 1.0625e-3, 2e-3]
        assert np.allclose(row.metrics["compute"].rounds, [expected])
        assert row.latency.n == 8
        assert row.latency.p50 == pytest.approx(1.1875e-3)
        assert row.throughput == pytest.approx(8 / (sum(RUNS) / 8 * 1e-3))

    def test_more_starts_are_more_openings(self, write):
        paths = [write(times_file([ms] * 6), f"{ms}.json") for ms in (1.0, 2.0)]
        profile = read_trtexec(Imported(CONTESTANT, paths), Method(rounds=3))
        (row,) = profile.rows
        assert np.allclose(row.metrics["compute"].rounds, [[1e-3] * 3, [2e-3] * 3])
        assert row.latency.mean == pytest.approx(1.5e-3)
        assert (profile.method.openings, profile.method.rounds) == (2, 3)
        assert profile.method.warmup_iterations == 0

    def test_fewer_runs_than_turns_are_a_turn_each(self, write):
        profile = read_trtexec(Imported(CONTESTANT, [write(times_file([1.0, 2.0]))]))
        assert np.allclose(profile.rows[0].latency.quantiles[::100], [1e-3, 2e-3])
        assert np.allclose(profile.rows[0].metrics["latency"].rounds, [[1e-3, 2e-3]])

    def test_starts_with_copies_and_without_are_not_mixed(self, write):
        paths = [
            write(times_file(RUNS), "none.json"),
            write(times_file(RUNS, transfers=(0.5, 0.5)), "some.json"),
        ]
        with pytest.raises(InputError, match=r"none\.json has no copies in it, and .*some\.json"):
            read_trtexec(Imported(CONTESTANT, paths))

    def test_an_enqueue_that_one_start_cannot_tell_is_left_out(self, write):
        paths = [
            write(times_file(RUNS), "short.json"),
            write(times_file(RUNS, start=10_000), "long.json"),
        ]
        assert "enqueue" not in read_trtexec(Imported(CONTESTANT, paths)).rows[0].metrics

    def test_no_file_is_refused(self):
        with pytest.raises(InputError, match="no file"):
            read_trtexec(Imported(CONTESTANT, []))

    def test_it_is_said_what_latency_is_and_what_is_not_known(self, write):
        profile = read_trtexec(Imported(CONTESTANT, [write(times_file(RUNS))]))
        assert profile.environment.cpu.model == "unknown"
        assert profile.environment.machine == "unknown"
        assert profile.environment.gpu is None
        assert [remark.kind for remark in profile.remarks] == ["not sampled"]
        assert "--import-log" in profile.remarks[0].remedy
        kinds = {remark.kind: remark for remark in profile.rows[0].remarks}
        assert "without the launch" in kinds["imported"].problem
        # 8 runs, of which the last takes three times as long as the median.
        assert {"too few iterations", "noisy"} <= set(kinds)

    def test_a_log_and_layers_are_part_of_it(self, write, attribution):
        imported = Imported(
            CONTESTANT,
            [write(times_file(RUNS))],
            profile=write(profile_file({"conv1": 0.5}), "profile.json"),
            log=write(LOG, "log"),
            sha256="ab",
            nd_layers=1,
            attribution=attribution,
        )
        profile = read_trtexec(imported)
        assert profile.environment.gpu.name == "NVIDIA H100 80GB HBM3"
        assert "log" not in profile.remarks[0].remedy
        assert profile.environment.versions == {"tensorrt": "10.3.0"}
        assert profile.rows[0].receipt["version"] == "10.3.0"
        assert [layer.nd_layer for layer in profile.rows[0].layers] == ["conv1"]
        (model,) = profile.models
        assert (model.kind, model.sha256, model.nd_layers) == ("trtexec", "ab", 1)

    def test_it_was_measured_when_the_file_was_written(self, write):
        path = write(times_file(RUNS))
        os.utime(path, (0, 1_000_000_000))
        profile = read_trtexec(Imported(CONTESTANT, [path]))
        assert profile.created == "2001-09-09T01:46:40+00:00"

    def test_it_survives_being_written_and_read(self, write):
        profile = read_trtexec(Imported(CONTESTANT, [write(times_file(RUNS))]))
        document = json.dumps(profile.as_dict())
        assert json.dumps(Profile.from_dict(json.loads(document)).as_dict()) == document
