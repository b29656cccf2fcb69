"""The command of trtexec, against the options that its sources read.

The lists hold the options that samples/common/sampleOptions.cpp of NVIDIA's TensorRT repository
asks for at both of two tags of each version: v10.3.0 and v10.16, v11.0 and v11.1.
"""

import re
import shlex
from pathlib import Path

import pytest
from onnx import helper

from nd_deploy.bundle.manifest import TensorInfo
from nd_deploy.cli.common import PRECISIONS
from nd_deploy.errors import InputError
from nd_deploy.profiling.results import Method
from nd_deploy.profiling.trtexec.command import Outputs, trtexec_command
from nd_deploy.profiling.trtexec.lines import TrtexecOptions, command_lines
from nd_deploy.profiling.trtexec.model import MeasuredModel, read_model
from nd_deploy.profiling.trtexec.versions import VERSIONS


def words(text):
    return re.findall(r"\w+", text)


IN_ALL = """
allocationStrategy allowGPUFallback allowWeightStreaming avgRuns avgTiming buildDLAStandalone
builderOptimizationLevel consistency device directIO dumpLayerInfo dumpOptimizationProfile
dumpOutput dumpProfile dumpRawBindingsToFile dumpRefit duration dynamicPlugins
errorOnTimingCacheMiss excludeLeanRuntime exportLayerInfo exportOutput exportProfile exportTimes
exposeDMA getPlanVersionOnly hardwareCompatibilityLevel help idleTime ignoreParsedPluginLibs
infStreams inputIOFormats iterations layerDeviceTypes leanDLLPath loadEngine loadInputs
markDebug maxAuxStreams maxShapes memPoolSize minShapes noBuilderCache noCompilationCache
noDataTransfers noTF32 onnx optShapes outputIOFormats percentile persistentCacheRatio pi
pluginInstanceNorm plugins preview profile profilingVerbosity refit runtimePlatform safe
saveDebugTensors saveEngine separateProfileRun setPluginsToSerialize shapes skipInference
sleepTime sparsity staticPlugins streams stripAllWeights stripWeights stronglyTyped
tacticSources tempdir tempfileControls threads timeDeserialize timeRefit timingCacheFile
useCudaGraph useDLACore useManagedMemory useProfile useRuntime useSpinWait vc verbose
versionCompatible warmUp weightStreamingBudget
"""
IN_10 = """
best bf16 calib calibProfile fp16 fp8 int4 int8 layerOutputTypes layerPrecisions maxShapesCalib
minShapesCalib optShapesCalib precisionConstraints restricted weightless
"""
IN_11 = "includeDataTransfers noCudaGraph noSpinWait"
OPTIONS = {"10": {*words(IN_ALL), *words(IN_10)}, "11": {*words(IN_ALL), *words(IN_11)}}
# Those that sampleOptions.cpp of v11.1 reads only to warn of them.
WARNED_OF = {"noDataTransfers", "useSpinWait", "useCudaGraph", "separateProfileRun"}
# What stands in the options' classes in sampleOptions.h.
DEFAULTS = {
    "10": {"graph": False, "transfers": True, "spin": False, "apart": False},
    "11": {"graph": True, "transfers": False, "spin": True, "apart": True},
}
CHANGES = {
    "10": {
        "useCudaGraph": ("graph", True),
        "noDataTransfers": ("transfers", False),
        "useSpinWait": ("spin", True),
        "separateProfileRun": ("apart", True),
    },
    "11": {
        "noCudaGraph": ("graph", False),
        "includeDataTransfers": ("transfers", True),
        "noSpinWait": ("spin", False),
    },
}
OUTPUTS = Outputs("t.json", "p.json", "l.json")
SHAPES = {"image": (8, 3, 32, 32)}


def command(version, **options):
    return trtexec_command(Path("net.onnx"), version, SHAPES, OUTPUTS, **options)


def options_of(line):
    """By option, its value; what is given twice has the last."""
    return dict(word.removeprefix("--").partition("=")[::2] for word in line[1:])


def effect(version, line):
    """What the options of a command come to, as that version's parser takes them."""
    changes = [CHANGES[version][name] for name in options_of(line) if name in CHANGES[version]]
    return DEFAULTS[version] | dict(changes)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("transfers", [False, True])
class TestEveryVersion:
    def test_it_asks_for_the_same_whatever_the_defaults(self, version, graph, transfers):
        line = command(version, cuda_graph=graph, transfers=transfers)
        wanted = {"graph": graph, "transfers": transfers, "spin": True, "apart": True}
        assert effect(version, line) == wanted

    def test_every_option_is_one_that_the_version_reads(self, version, graph, transfers):
        line = command(
            version,
            cuda_graph=graph,
            transfers=transfers,
            plugins=(Path("a.so"), Path("b.so")),
            save_engine=Path("net.engine"),
            device=1,
        )
        assert set(options_of(line)) <= OPTIONS[version]
        assert all(word.startswith("--") for word in line[1:])
        if version == "11":
            assert not set(options_of(line)) & WARNED_OF


class TestWhatIsMeasured:
    def test_the_method_becomes_milliseconds_seconds_and_runs(self):
        method = Method(rounds=10, turn_seconds=0.25, turn_iterations=4, warmup_seconds=0.5)
        given = options_of(command("10", method=method))
        assert float(given["warmUp"]) == 500
        assert float(given["duration"]) == 2.5
        assert int(given["iterations"]) == 40

    @pytest.mark.parametrize("version", VERSIONS)
    def test_runs_do_not_overlap(self, version):
        assert "exposeDMA" in options_of(command(version))

    @pytest.mark.parametrize("version", VERSIONS)
    def test_tf32_is_off_unless_asked_for(self, version):
        assert "noTF32" in options_of(command(version))
        assert "noTF32" not in options_of(command(version, tf32=True))

    def test_the_model_s_types_are_kept(self):
        assert "stronglyTyped" in options_of(command("10"))
        # There it is the only kind of network.
        assert "stronglyTyped" not in options_of(command("11"))

    def test_shapes_are_those_of_the_batch(self):
        shapes = {"image": (8, 3, 32, 32), "mask:0": (8, 1)}
        line = trtexec_command(Path("net.onnx"), "11", shapes, OUTPUTS)
        assert options_of(line)["shapes"] == "image:8x3x32x32,'mask:0':8x1"

    def test_a_model_of_fixed_shapes_is_given_none(self):
        line = trtexec_command(Path("net.onnx"), "11", {}, OUTPUTS)
        assert "shapes" not in options_of(line)

    def test_plugins_are_loaded_by_the_registry(self):
        line = command("10", plugins=(Path("a b.so"), Path("c.so")))
        assert line.count("--dynamicPlugins=a b.so") == line.count("--dynamicPlugins=c.so") == 1

    def test_files_are_written_for_import(self):
        given = options_of(command("10"))
        names = ("exportTimes", "exportProfile", "exportLayerInfo")
        assert [given[name] for name in names] == ["t.json", "p.json", "l.json"]

    def test_an_engine_is_loaded_and_nothing_is_built(self):
        line = trtexec_command(Path("net.engine"), "10", SHAPES, OUTPUTS, built=True)
        given = options_of(line)
        assert given["loadEngine"] == "net.engine"
        building = {"onnx", "noTF32", "stronglyTyped", "profilingVerbosity", "saveEngine"}
        assert not building & set(given)


class TestRefusals:
    def test_an_unknown_version(self):
        with pytest.raises(InputError, match="TensorRT 8 is not known") as caught:
            command("8")
        assert "10, 11" in caught.value.remedy

    @pytest.mark.parametrize("name", ["a,b", "it's", "a*"])
    def test_a_name_that_trtexec_would_read_as_something_else(self, name):
        with pytest.raises(InputError, match="characters in its name"):
            trtexec_command(Path("net.onnx"), "11", {name: (1, 2)}, OUTPUTS)

    def test_an_engine_of_an_engine(self):
        with pytest.raises(InputError, match="an engine already"):
            command("11", built=True, save_engine=Path("other.engine"))


def bundle(*shapes, precision="float32"):
    inputs = tuple(
        TensorInfo(name, "float32", shape) for name, shape in zip(("x", "z"), shapes, strict=False)
    )
    path = Path("nets/digits")
    return MeasuredModel(path, path / "model.onnx", inputs, precision, ("conv1",))


OPEN = bundle(("batch", 1, 8, 8))
METHOD = Method()


class TestModels:
    def test_shapes_have_the_batch_in_every_open_place(self):
        model = bundle(("batch", 1, 8, 8), ("batch", 5))
        assert model.shapes(4) == {"x": (4, 1, 8, 8), "z": (4, 5)}
        assert model.batch(model.shapes(4)) == 4

    def test_a_whole_shape_fills_other_open_axes(self):
        model = bundle(("batch", 1, "height", 8))
        assert model.shapes(4, ["x=4x1x6x8"]) == {"x": (4, 1, 6, 8)}
        with pytest.raises(InputError, match=r"\(height\) of input 'x'"):
            model.shapes(4)

    def test_a_fixed_batch_is_the_model_s(self):
        model = bundle((2, 1, 8, 8))
        assert model.shapes(None) == {}
        assert model.batch({}) == 2
        with pytest.raises(InputError, match="the model's batch is fixed"):
            model.shapes(4)

    def test_a_range_of_shapes_is_refused(self):
        with pytest.raises(InputError, match="is a range"):
            OPEN.shapes(None, ["x=1x1x8x8:2x1x8x8:4x1x8x8"])

    def test_an_open_batch_without_a_number_is_refused(self):
        with pytest.raises(InputError, match="batch of input 'x'"):
            OPEN.shapes(None)

    def test_an_onnx_file_will_do(self, tmp_path):
        import onnx

        ports = [helper.make_tensor_value_info(n, 1, ["N", 3]) for n in "xy"]
        graph = helper.make_graph(
            [helper.make_node("Relu", ["x"], ["y"])], "g", *map(list, zip(ports))
        )
        onnx.save(helper.make_model(graph), tmp_path / "net.onnx")
        model = read_model(tmp_path / "net.onnx")
        assert (model.name, model.is_bundle, model.nd_layers) == ("net", False, None)
        assert model.shapes(6) == {"x": (6, 3)}


class TestLines:
    def test_a_model_as_it_is_takes_one_command(self):
        (line,) = command_lines(OPEN, OPEN.shapes(8), TrtexecOptions("11"), METHOD)
        given = options_of(line)
        assert given["onnx"] == "nets/digits/model.onnx"
        assert given["shapes"] == "x:8x1x8x8"
        assert given["exportTimes"] == "digits-b8-times.json"

    def test_the_model_s_own_precision_is_as_it_is(self):
        asked = command_lines(
            OPEN, OPEN.shapes(8), TrtexecOptions("11", precision="float32"), METHOD
        )
        assert asked == command_lines(OPEN, OPEN.shapes(8), TrtexecOptions("11"), METHOD)

    @pytest.mark.parametrize("version", VERSIONS)
    def test_another_precision_takes_an_engine_that_is_built_first(self, version):
        wanted = TrtexecOptions(version, precision="float16", tf32=True, plugins=(Path("nd.so"),))
        build, line = command_lines(OPEN, OPEN.shapes(8), wanted, METHOD)
        assert build[:3] == ["nd-deploy", "build", "nets/digits"]
        engine = "digits-b8-float16.engine"
        assert set(build[3:]) == {
            "--runtime=tensorrt",
            "--precision=fp16",
            "--shape=x=8x1x8x8",
            "--tf32",
            "--plugin=nd.so",
            f"--output={engine}",
        }
        assert options_of(line)["loadEngine"] == engine
        assert not {"fp16", "onnx"} & set(options_of(line))

    @pytest.mark.parametrize("name", ["float32", "float16", "bfloat16"])
    def test_the_build_command_takes_the_words_it_is_given(self, name):
        from nd_deploy.cli.build import build_command

        model = bundle(("batch", 1, 8, 8), precision="float64")
        build, _ = command_lines(
            model, model.shapes(8), TrtexecOptions("11", precision=name), METHOD
        )
        context = build_command.make_context("build", build[2:])
        assert context.params["precision"] == name
        assert context.params["shapes"] == ("x=8x1x8x8",)
        assert name in PRECISIONS.values()

    def test_an_engine_has_its_types_already(self):
        engine = Path("net.engine")
        (line,) = command_lines(OPEN, OPEN.shapes(8), TrtexecOptions("10", engine=engine), METHOD)
        assert options_of(line)["loadEngine"] == "net.engine"
        for wrong in ({"precision": "float16"}, {"tf32": True}):
            with pytest.raises(InputError, match="--engine names one that is built"):
                command_lines(OPEN, {}, TrtexecOptions("10", engine=engine, **wrong), METHOD)

    def test_an_onnx_file_cannot_be_cast(self):
        path = Path("net.onnx")
        model = MeasuredModel(path, path, OPEN.inputs, "float32", None)
        with pytest.raises(InputError, match=r"net\.onnx is in float32"):
            command_lines(model, {}, TrtexecOptions("10", precision="float16"), METHOD)

    def test_a_shell_reads_the_same_words_again(self):
        wanted = TrtexecOptions("10", plugins=(Path("my plugins/it's.so"),))
        (line,) = command_lines(OPEN, OPEN.shapes(8), wanted, METHOD)
        assert shlex.split(shlex.join(line)) == line
