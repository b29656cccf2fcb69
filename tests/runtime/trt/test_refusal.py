import pytest

from nd_deploy.runtime.tensorrt.running.refusal import Messages, refusal

# What TensorRT 10 and TensorRT-RTX 1.7 say.
SAID = {
    "another version of TensorRT 10": [
        "IRuntime::deserializeCudaEngine: Error Code 1: Serialization (Serialization assertion "
        "stdVersionRead == kSERIALIZATION_VERSION failed.Version tag does not match. Note: Current "
        "Version: 239, Serialized Engine Version: 228)"
    ],
    "another version": [
        "The engine plan file is not compatible with this version of TensorRT, expecting library "
        "version 10.16.1.11 got 10.3.0.26, please rebuild."
    ],
    "built for another GPU": [
        "The engine plan file is generated on an incompatible device, expecting compute 9.0 got "
        "compute 8.6, please rebuild."
    ],
    "NDChannelDeconv": [
        "IPluginRegistry::getCreator: Error Code 4: API Usage Error (Cannot find plugin: "
        "NDChannelDeconv, version: 1, namespace:nd_deploy.)"
    ],
    "needs a plugin that is not loaded": ["Cannot find plugin: Other, version: 1, namespace:."],
    "it is corrupt, or no engine": [
        "Serialization assertion header.magicTag == kEXPECTED_MAGIC_TAG failed.Trying to load an "
        "engine created with incompatible serialization version (1 != 2)"
    ],
    "too little memory": ["Error Code 2: OutOfMemory (Requested size was 8589934592 bytes.)"],
    "no GPU that can be used": [
        "CUDA initialization failure with error: 35. Please check your CUDA installation"
    ],
    "brings code for this machine": [
        "Cannot deserialize engine with lean runtime since "
        "IRuntime::getEngineHostCodeAllowed() is false."
    ],
}


@pytest.mark.parametrize(("told", "said"), SAID.items())
def test_tensorrts_words_become_a_cause_and_a_remedy(told, said):
    messages = Messages()
    for text in said:
        messages("ERROR", text)
    error = refusal("net.engine", "TensorRT 10.16.1", messages)
    assert told.replace("of TensorRT 10", "of TensorRT 10.16.1") in error.problem
    assert "TensorRT 10.16.1 cannot load net.engine" in error.problem
    assert said[0] in error.problem
    assert error.remedy


def test_a_corrupt_engine_without_a_gpu_is_corrupt():
    messages = Messages()
    messages("ERROR", "CUDA initialization failure with error: 35")
    messages("ERROR", "Serialization assertion plan.header.size == blobSize failed.")
    assert "it is corrupt" in refusal("e", "TensorRT", messages).problem


@pytest.mark.parametrize(
    ("diagnostic", "told"),
    [
        ("VERSION_MISMATCH", "another version"),
        ("UNSUPPORTED_CC", "another GPU"),
        ("MALFORMED_ENGINE", "corrupt"),
        ("OLD_CUDA_DRIVER", "too old"),
        ("INSUFFICIENT_GPU_MEMORY", "too little memory"),
    ],
)
def test_what_tensorrt_rtx_diagnoses_needs_no_words(diagnostic, told):
    assert told in refusal("e", "TensorRT-RTX", Messages(), [diagnostic]).problem


def test_words_of_no_known_cause_are_quoted_once():
    messages = Messages()
    for _ in range(3):
        messages("INTERNAL_ERROR", "a bug")
    messages("WARNING", "a warning")
    assert refusal("e", "TensorRT", messages).problem == "TensorRT cannot load e: a bug"


def test_silence_is_told():
    assert "does not say why" in refusal("e", "TensorRT", Messages()).problem


def test_chatter_is_not_kept():
    messages = Messages()
    messages("VERBOSE", "magic tag")
    assert messages == []
