from pathlib import Path

import pytest

from nd_deploy.errors import InputError
from nd_deploy.runtime.ort.providers import CudaOptions, TensorrtOptions, read_options


def test_options_are_words_as_onnxruntime_takes_them():
    options = CudaOptions(
        device_id=1,
        use_tf32=True,
        gpu_mem_limit=2**31,
        cudnn_conv_algo_search="HEURISTIC",
        prefer_nhwc=False,
    )
    assert options.entries() == {
        "device_id": "1",
        "use_tf32": "1",
        "enable_cuda_graph": "0",
        "gpu_mem_limit": "2147483648",
        "cudnn_conv_algo_search": "HEURISTIC",
        "prefer_nhwc": "0",
    }


def test_what_is_not_given_is_left_to_the_provider():
    assert set(TensorrtOptions().entries()) == {
        "device_id",
        "trt_cuda_graph_enable",
        "trt_engine_cache_enable",
        "trt_timing_cache_enable",
    }


def test_plugin_libraries_are_joined_as_the_provider_splits_them():
    options = TensorrtOptions(trt_extra_plugin_lib_paths=(Path("/a/x.so"), Path("/b/y.so")))
    assert options.entries()["trt_extra_plugin_lib_paths"] == "/a/x.so;/b/y.so"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1024", 1024), ("2GiB", 2**31), ("3 MB", 3_000_000), ("4kib", 4096), ("1gb", 10**9)],
)
def test_sizes_have_units(text, expected):
    assert read_options(CudaOptions, {"gpu_mem_limit": text}).gpu_mem_limit == expected


@pytest.mark.parametrize(
    ("kind", "name", "text", "expected"),
    [
        (CudaOptions, "cudnn_conv_use_max_workspace", "off", False),
        (CudaOptions, "arena_extend_strategy", "kSameAsRequested", "kSameAsRequested"),
        (TensorrtOptions, "trt_builder_optimization_level", "5", 5),
        (TensorrtOptions, "trt_engine_hw_compatible", "True", True),
        (TensorrtOptions, "trt_engine_cache_path", "/c", Path("/c")),
    ],
)
def test_values_are_read_in_their_types(kind, name, text, expected):
    assert getattr(read_options(kind, {name: text}), name) == expected


@pytest.mark.parametrize(
    ("kind", "name", "text", "said"),
    [
        (CudaOptions, "gpu_mem_limit", "lots", "a number of bytes"),
        (CudaOptions, "gpu_mem_limit", "0", "a number of bytes"),
        (CudaOptions, "gpu_mem_limit", "-1GiB", "a number of bytes"),
        (CudaOptions, "cudnn_conv_algo_search", "heuristic", "EXHAUSTIVE or HEURISTIC"),
        (CudaOptions, "prefer_nhwc", "2", "on or off"),
        (CudaOptions, "user_compute_stream", "94", "choose from"),
        (TensorrtOptions, "trt_builder_optimization_level", "6", "from 0 to 5"),
        (TensorrtOptions, "trt_engine_cache_path", "", "a path"),
        (CudaOptions, "use_tf32", "1", "--tf32"),
        (TensorrtOptions, "trt_extra_plugin_lib_paths", "x.so", "--plugin"),
        (TensorrtOptions, "trt_profile_min_shapes", "x:1x3", "--batch"),
        (TensorrtOptions, "trt_fp16_enable", "1", "nd-deploy convert"),
        (TensorrtOptions, "gpu_mem_limit", "1", "trt_max_workspace_size"),
        (TensorrtOptions, "trt_engine_decryption_lib_path", "x.so", "choose from"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_would(kind, name, text, said):
    with pytest.raises(InputError) as caught:
        read_options(kind, {name: text})
    assert name in caught.value.problem
    assert said in caught.value.remedy


def test_what_the_user_says_goes_before_what_is_settled():
    options = read_options(
        TensorrtOptions, {"trt_engine_cache_enable": "off"}, trt_engine_cache_enable=True
    )
    assert not options.trt_engine_cache_enable
