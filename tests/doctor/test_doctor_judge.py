from dataclasses import replace

import pytest
from machines import CPU, CUDA, H200, ORIN, PLAIN, PLUGIN, TENSORRT

from nd_deploy.doctor import judge as module
from nd_deploy.doctor.facts import Driver, EngineCache, Gpu, OnnxRuntime, TensorRt
from nd_deploy.doctor.judge import judge, runs_on_rtx
from nd_deploy.doctor.judge_plugins import runs_on
from nd_deploy.doctor.versions import newer


def only(facts):
    """The one thing that is wrong."""
    (finding,) = judge(facts)
    return finding


def with_ort(facts, **changes):
    return replace(facts, onnxruntime=replace(facts.onnxruntime, **changes))


@pytest.mark.parametrize("facts", [PLAIN, H200, ORIN], ids=["plain", "h200", "orin"])
def test_where_everything_fits_nothing_is_said(facts):
    assert judge(facts) == ()


def test_what_is_absent_is_no_misfit():
    assert judge(replace(PLAIN, onnxruntime=None, packages={})) == ()


def test_a_driver_that_no_program_can_use():
    finding = only(replace(H200, driver=Driver("580", None, "cuInit: CUDA_ERROR_NO_DEVICE")))
    assert "nvidia-smi lists NVIDIA H200: cuInit" in finding.what
    assert "--gpus all" in finding.remedy


class TestOnnxRuntime:
    def test_built_for_a_newer_cuda_than_the_drivers(self):
        facts = replace(H200, driver=Driver("570.86", "12.8"), nvcc=None, plugins=(), packages={})
        finding = only(facts)
        assert "onnxruntime-gpu 1.31.1 is built for CUDA 13.0" in finding.what
        assert "up to 12.8" in finding.what
        assert "built for CUDA 12" in finding.remedy

    def test_a_newer_minor_version_is_no_matter(self):
        facts = with_ort(H200, cuda="13.5")
        assert judge(facts) == ()

    def test_linked_to_another_tensorrt_than_is_installed(self):
        facts = with_ort(
            replace(H200, tensorrt=TensorRt("11.4.0")), missing={TENSORRT: ("libnvinfer.so.10",)}
        )
        finding = only(facts)
        assert "linked to TensorRT 10, and TensorRT 11.4.0 is installed" in finding.what
        assert "pip install 'tensorrt-cu13>=10,<11'" in finding.remedy

    def test_libraries_that_are_not_there(self):
        missing = {CUDA: ("libcublas.so.13",), TENSORRT: ("libcublas.so.13", "libcudnn.so.9")}
        first, second = judge(with_ort(H200, missing=missing))
        assert first.what.startswith(f"{CUDA} of onnxruntime-gpu 1.31.1 needs libcublas.so.13,")
        assert "libcublas.so.13, libcudnn.so.9, which are not" in second.what
        assert second.remedy == "pip install 'onnxruntime-gpu[cuda,cudnn]'"

    def test_without_a_gpu_its_libraries_are_no_matter(self):
        facts = with_ort(replace(H200, gpus=(), driver=None), missing={CUDA: ("libcublas.so.13",)})
        assert judge(facts) == ()

    @pytest.mark.parametrize(("cudnn", "said"), [(None, "none is"), ("8.9.7", "cuDNN 8.9.7 is")])
    def test_cudnn_that_is_not_there_or_another(self, cudnn, said):
        finding = only(replace(H200, cudnn=cudnn))
        assert f"convolutions by cuDNN 9, and {said} to be found" in finding.what
        assert finding.remedy == "pip install 'onnxruntime-gpu[cuda,cudnn]'"

    def test_a_gpu_that_cuda_13_no_longer_runs_on(self):
        facts = replace(H200, gpus=(Gpu("Tesla V100", "7.0"),), plugins=())
        assert "no longer runs on Tesla V100" in only(facts).what

    def test_a_module_that_is_broken(self):
        facts = replace(PLAIN, onnxruntime=OnnxRuntime(problem="libonnxruntime.so.1"))
        assert "cannot be imported: libonnxruntime.so.1" in only(facts).what
        # The conflict says it better.
        assert judge(replace(facts, conflict="both are installed")) == ()


class TestTensorRT:
    def test_a_broken_one_tells_the_way_of_a_jetson_too(self):
        finding = only(replace(H200, tensorrt=TensorRt(problem="libnvinfer.so.10")))
        assert "cannot be imported: libnvinfer.so.10" in finding.what
        assert "apt-get install python3-libnvinfer" in finding.remedy

    def test_a_wheel_for_a_newer_cuda_than_the_drivers(self):
        facts = replace(
            H200,
            driver=Driver("570.86", "12.8"),
            onnxruntime=None,
            nvcc=None,
            plugins=(),
            packages={"tensorrt-cu13": "10.16.1"},
        )
        assert "pip install 'tensorrt-cu12==10.16.1'" in only(facts).remedy

    def test_one_that_leaves_plugins_aside(self):
        plugin = replace(PLUGIN, archs=("87",), nvcc="12.6")
        finding = only(replace(ORIN, plugins=(plugin,)))
        assert "TensorRT 10.3.0 takes function bodies" in finding.what
        assert "--target 'tensorrt<=10.6'" in finding.remedy


class TestRtx:
    @pytest.mark.parametrize(
        ("capability", "runs"),
        [
            *((known, True) for known in ("7.5", "8.0", "8.7", "8.9", "12.0", "12.1")),
            *((strange, False) for strange in ("7.0", "9.0", "10.0", "11.0")),
        ],
    )
    def test_which_gpus_it_runs_on(self, capability, runs):
        assert runs_on_rtx(Gpu("some GPU", capability), TensorRt("1.7")) is runs

    def test_a_build_that_lists_another_is_believed(self):
        assert runs_on_rtx(Gpu("H200", "9.0"), TensorRt("2.0", compute_capabilities=("9.0",)))

    def test_on_an_h200_it_builds_and_does_not_run(self):
        finding = only(replace(H200, tensorrt_rtx=TensorRt("1.7.1")))
        assert "TensorRT-RTX 1.7.1 does not run on NVIDIA H200 (compute capability 9.0)" in (
            finding.what
        )
        assert "--runtime tensorrt" in finding.remedy

    def test_a_broken_one(self):
        facts = replace(PLAIN, tensorrt_rtx=TensorRt(problem="it was ended by SIGABRT"))
        assert "SIGABRT" in only(facts).what


def test_cuda_bindings_for_a_newer_cuda_than_the_drivers():
    facts = replace(ORIN, packages={"cuda-bindings": "13.5.0"})
    assert only(facts).remedy == "pip install 'cuda-bindings==12.*'"


def test_a_compiler_for_a_newer_cuda_than_the_drivers():
    finding = only(replace(ORIN, nvcc="13.0"))
    assert "does not run here" in finding.what
    assert "the nvcc of CUDA 12" in finding.remedy


def test_a_cache_that_cannot_be_written():
    cache = EngineCache("/c", problem="/c is not writable", remedy="set ND_DEPLOY_CACHE")
    assert only(replace(PLAIN, cache=cache)) == module.Finding(
        "engines cannot be kept: /c is not writable", "set ND_DEPLOY_CACHE"
    )


class TestPlugins:
    def test_one_that_is_damaged_says_what_its_check_says(self):
        plugin = replace(PLUGIN, problem="lacks NDChannelDeconv", remedy="build it")
        finding = only(replace(H200, plugins=(plugin,)))
        assert "/p/libnd.so: lacks NDChannelDeconv" in finding.what
        assert finding.remedy == "build it"

    @pytest.mark.parametrize(
        ("archs", "ptx", "capability", "runs"),
        [
            (("90",), None, "9.0", True),
            (("80",), None, "8.9", True),  # machine code runs on later GPUs of its generation
            (("89",), None, "8.6", False),
            (("80", "120"), "120", "9.0", False),
            (("80",), "80", "9.0", True),  # compiled by the driver
            (("90a",), None, "9.0", True),
        ],
    )
    def test_which_gpus_it_has_code_for(self, archs, ptx, capability, runs):
        plugin = replace(PLUGIN, archs=archs, ptx=ptx)
        assert runs_on(plugin, Gpu("some GPU", capability)) is runs
        assert (judge(replace(H200, gpus=(Gpu("A", capability),), plugins=(plugin,))) == ()) is runs

    def test_one_without_code_for_the_gpu_is_to_be_built_for_it(self):
        plugin = replace(PLUGIN, archs=("75", "80"), ptx="120", self_register=True)
        finding = only(replace(H200, plugins=(plugin,)))
        assert "has code for 75, 80, and none for NVIDIA H200 (90)" in finding.what
        assert finding.remedy.endswith("nd-deploy plugin build --self-register --archs 90")

    def test_one_built_with_a_newer_cuda_than_the_drivers(self):
        plugin = replace(PLUGIN, archs=("87",), nvcc="13.0.1")
        found = judge(replace(ORIN, plugins=(plugin,)))
        assert "built with CUDA 13.0.1, and the driver takes CUDA up to 12.6" in found[0].what

    def test_one_that_registers_with_another_tensorrt_than_onnxruntimes(self):
        plugin = replace(PLUGIN, self_register=True, headers="11.1.0")
        finding = only(replace(H200, plugins=(plugin,)))
        assert "registers with TensorRT 11.1.0" in finding.what
        assert "--self-register --headers" in finding.remedy
        assert judge(replace(H200, plugins=(replace(plugin, headers="10.0.1"),))) == ()

    def test_somebody_elses_is_not_judged_by_its_code(self):
        plugin = replace(PLUGIN, archs=(), ptx=None, headers=None, nvcc=None)
        assert judge(replace(H200, plugins=(plugin,))) == ()


@pytest.mark.parametrize(
    ("version", "other", "is_newer"),
    [
        ("13", "12", True),
        ("10.16", "10.9", True),
        ("13.0", "13.0", False),
        ("9", "13", False),
        (None, "12", False),
        ("13", None, False),
    ],
)
def test_versions_are_compared_as_numbers(version, other, is_newer):
    assert newer(version, other) is is_newer


def test_the_cpu_is_never_judged_by_libraries():
    assert judge(with_ort(H200, missing={CPU: ()})) == ()
