"""What runs a model in Triton: the backends, and the options that they know.

The keys are those of onnxruntime_backend's src/onnxruntime.cc, which refuses any other for its
TensorRT accelerator and hands whatever the CUDA accelerator is given to ONNX Runtime.
"""

from __future__ import annotations

CPU, CUDA, TENSORRT, PLAN = "cpu", "cuda", "tensorrt", "plan"
ACCELERATORS = (CPU, CUDA, TENSORRT, PLAN)

PLATFORMS = {"onnxruntime": "onnxruntime_onnx", "tensorrt": "tensorrt_plan"}
"""The platform of each backend."""
FILES = {"onnxruntime": "model.onnx", "tensorrt": "model.plan"}
"""The file that each backend loads."""

ENGINES = "/engines"
"""Where a container keeps the engines that ONNX Runtime builds: outside of the repository."""

PROFILE_KEYS = tuple(f"trt_profile_{which}_shapes" for which in ("min", "opt", "max"))
TENSORRT_KEYS = frozenset(PROFILE_KEYS) | {
    "precision_mode",
    "max_workspace_size_bytes",
    "int8_calibration_table_name",
    "int8_use_native_calibration_table",
    "trt_max_partition_iterations",
    "trt_min_subgraph_size",
    "trt_dla_enable",
    "trt_dla_core",
    "trt_engine_cache_enable",
    "trt_engine_cache_path",
    "trt_engine_cache_prefix",
    "trt_dump_subgraphs",
    "trt_force_sequential_engine_build",
    "trt_context_memory_sharing_enable",
    "trt_layer_norm_fp32_fallback",
    "trt_timing_cache_enable",
    "trt_timing_cache_path",
    "trt_force_timing_cache",
    "trt_detailed_build_log",
    "trt_build_heuristics_enable",
    "trt_sparsity_enable",
    "trt_builder_optimization_level",
    "trt_auxiliary_streams",
    "trt_tactic_sources",
    "trt_extra_plugin_lib_paths",
    "trt_cuda_graph_enable",
    "trt_dump_ep_context_model",
    "trt_ep_context_file_path",
    "trt_ep_context_embed_mode",
}
PRECISION_MODES = ("FP32", "FP16", "BF16", "INT8")

OVERRIDDEN = (
    "cudnn_conv_algo_search",
    "gpu_mem_limit",
    "arena_extend_strategy",
    "do_copy_in_default_stream",
)
"""What the backend sets from the model's `parameters` as soon as there are any, to its default
where it is not among them: as an option of the CUDA accelerator it would be lost."""
