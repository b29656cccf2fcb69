from dataclasses import replace

import pytest
from machines import CPU, CUDA, H200, ORIN, PLAIN, TENSORRT

from nd_deploy.doctor.capabilities import capabilities
from nd_deploy.doctor.facts import Driver, Gpu, OnnxRuntime, TensorRt


def find(facts, name):
    return next(c for c in capabilities(facts) if c.name == name)


def test_what_works_needs_no_remedy():
    for capability in capabilities(H200):
        assert capability.available is (capability.remedy is None), capability


@pytest.mark.parametrize("runtime", ["ort-cpu", "ort-cuda", "ort-tensorrt"])
def test_on_an_h200_all_of_onnxruntime_runs(runtime):
    assert find(H200, f"run on {runtime}").reason.startswith("onnxruntime 1.31.1, ")


def test_a_missing_package_is_named():
    found = find(replace(PLAIN, packages={"torch": "2.13.0"}), "convert")
    assert not found.available
    assert found.reason == "onnxscript is not installed"
    assert found.remedy == "pip install 'nd-deploy[export]'"


def test_without_onnxruntime_its_extra_is_named():
    found = find(replace(PLAIN, onnxruntime=None), "run on ort-cpu")
    assert (found.available, found.remedy) == (False, "pip install 'nd-deploy[cpu]'")


def test_a_broken_onnxruntime_says_how():
    facts = replace(PLAIN, onnxruntime=OnnxRuntime(problem="it was ended by SIGSEGV"))
    assert find(facts, "run on ort-cpu").reason == "it was ended by SIGSEGV"


def test_without_a_gpu_nothing_is_to_be_installed_for_one():
    for name in ("run on ort-cuda", "run on ort-tensorrt", "build and run on tensorrt"):
        assert find(PLAIN, name).remedy == "a machine with an NVIDIA GPU and its driver"
    on_gpu = replace(PLAIN, gpus=(Gpu("L4", "8.9"),))
    assert "pip uninstall -y onnxruntime &&" in find(on_gpu, "run on ort-cuda").remedy
    assert find(on_gpu, "build and run on tensorrt").remedy == "pip install 'nd-deploy[tensorrt]'"


def test_libraries_that_a_provider_lacks_are_the_remedy():
    module = OnnxRuntime(
        "1.31.1",
        "13.0",
        runs={CPU: None, CUDA: None, TENSORRT: "it needs libnvinfer.so.10"},
        missing={TENSORRT: ("libnvinfer.so.10",)},
    )
    found = find(replace(H200, onnxruntime=module), "run on ort-tensorrt")
    assert found.reason == "it needs libnvinfer.so.10"
    assert found.remedy == "pip install 'tensorrt-cu13>=10,<11'"


class TestJetson:
    def test_tensorrt_comes_from_the_system(self):
        assert find(ORIN, "build and run on tensorrt").reason == "tensorrt 10.3.0, Orin"
        absent = find(replace(ORIN, tensorrt=None), "build and run on tensorrt")
        assert "apt-get install tensorrt" in absent.remedy

    def test_the_package_index_has_no_onnxruntime_for_its_gpu(self):
        assert "no onnxruntime-gpu for aarch64" in find(ORIN, "run on ort-cuda").remedy


class TestTensorRT:
    def test_running_needs_a_way_to_call_cuda(self):
        found = find(replace(H200, cuda_package=None), "build and run on tensorrt")
        assert not found.available
        assert found.remedy == "pip install 'cuda-bindings==13.*'"

    def test_running_needs_a_driver_that_works(self):
        facts = replace(H200, driver=Driver("580", None, "cuInit: CUDA_ERROR_UNKNOWN"))
        assert "CUDA_ERROR_UNKNOWN" in find(facts, "build and run on tensorrt").reason


class TestRtx:
    def test_it_builds_without_a_gpu(self):
        facts = replace(PLAIN, tensorrt_rtx=TensorRt("1.7"))
        assert find(facts, "build for tensorrt-rtx").available
        assert not find(facts, "run on tensorrt-rtx").available

    def test_it_runs_on_the_gpus_of_its_list(self):
        facts = replace(H200, tensorrt_rtx=TensorRt("1.7"), gpus=(Gpu("RTX 5090", "12.0"),))
        assert find(facts, "run on tensorrt-rtx").available
        found = find(replace(facts, gpus=H200.gpus), "run on tensorrt-rtx")
        assert "does not run on NVIDIA H200" in found.reason

    def test_it_may_be_absent_or_broken(self):
        assert "nd-deploy[rtx]" in find(PLAIN, "build for tensorrt-rtx").remedy
        broken = replace(PLAIN, tensorrt_rtx=TensorRt(problem="no library"))
        assert "broken: no library" in find(broken, "run on tensorrt-rtx").reason


def test_what_the_plugin_build_lacks_is_told():
    lacking = replace(PLAIN, build_tools=("nvcc was not found", "install the CUDA toolkit"))
    found = find(lacking, "build the plugin library")
    assert (found.reason, found.remedy) == lacking.build_tools
    assert find(H200, "build the plugin library").reason == "nvcc 13.0"
