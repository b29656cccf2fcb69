"""The options of the CUDA and TensorRT providers, typed, and as ONNX Runtime takes them.

Fields have ONNX Runtime's own names, under which its documentation explains them. What is None is
left to the provider.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from nd_deploy.runtime.option_values import (
    Reader,
    one_of,
    path,
    read_values,
    size,
    switch,
    whole,
)


class _Entries:
    def entries(self) -> dict[str, str]:
        """The options as ONNX Runtime takes them: words and numbers in text, true as 1."""
        given = {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]
        return {name: _text(value) for name, value in given.items() if value not in (None, ())}


@dataclass(frozen=True)
class CudaOptions(_Entries):
    """Of the CUDA provider.

    Attributes:
        device_id: which GPU.
        use_tf32: whether float32 products may be computed in TF32.
        enable_cuda_graph: capture each set of shapes once, and replay it.
        gpu_mem_limit: bytes that the provider's arena may take.
        arena_extend_strategy: how the arena grows, "kNextPowerOfTwo" or "kSameAsRequested".
        cudnn_conv_algo_search: how cuDNN's kernels are chosen, "EXHAUSTIVE", which measures them
            for every new shape, "HEURISTIC" or "DEFAULT".
        cudnn_conv_use_max_workspace: whether that search may take as much memory as it likes.
        prefer_nhwc: whether to compute with channels last.
        user_compute_stream: CUDA's number of a stream to compute in, which has to outlive the
            session; it is a place in memory, and so nothing that a user could write.
    """

    device_id: int = 0
    use_tf32: bool = False
    enable_cuda_graph: bool = False
    gpu_mem_limit: int | None = None
    arena_extend_strategy: str | None = None
    cudnn_conv_algo_search: str | None = None
    cudnn_conv_use_max_workspace: bool | None = None
    prefer_nhwc: bool | None = None
    user_compute_stream: int | None = None


@dataclass(frozen=True)
class TensorrtOptions(_Entries):
    """Of the TensorRT provider. Precision is that of the model: the provider's flags are not used.

    Attributes:
        device_id: which GPU.
        trt_cuda_graph_enable: capture the engine's work once, and replay it.
        trt_max_workspace_size: bytes that a kernel may take while it computes.
        trt_builder_optimization_level: 0 builds soonest, 5 searches longest.
        trt_auxiliary_streams: streams besides the main one.
        trt_context_memory_sharing_enable: whether engines share their scratch memory.
        trt_engine_hw_compatible: whether to build engines that run on any GPU from Ampere on.
        trt_engine_cache_enable: whether to keep engines.
        trt_engine_cache_path: where to keep them.
        trt_engine_cache_prefix: what their files' names begin with.
        trt_timing_cache_enable: whether to keep what the builder measured.
        trt_timing_cache_path: where to keep it.
        trt_profile_min_shapes: the smallest shapes, as "name:1x3x32x32,other:1x10"; all three of
            these or none, and then for every input with an open axis.
        trt_profile_opt_shapes: the shapes to be fastest at.
        trt_profile_max_shapes: the largest shapes.
        trt_extra_plugin_lib_paths: plugin libraries, which are code that is run.
    """

    device_id: int = 0
    trt_cuda_graph_enable: bool = False
    trt_max_workspace_size: int | None = None
    trt_builder_optimization_level: int | None = None
    trt_auxiliary_streams: int | None = None
    trt_context_memory_sharing_enable: bool | None = None
    trt_engine_hw_compatible: bool | None = None
    trt_engine_cache_enable: bool = False
    trt_engine_cache_path: Path | None = None
    trt_engine_cache_prefix: str | None = None
    trt_timing_cache_enable: bool = False
    trt_timing_cache_path: Path | None = None
    trt_profile_min_shapes: str | None = None
    trt_profile_opt_shapes: str | None = None
    trt_profile_max_shapes: str | None = None
    trt_extra_plugin_lib_paths: tuple[Path, ...] = ()


ProviderOptions = TypeVar("ProviderOptions", CudaOptions, TensorrtOptions)


def read_options(
    kind: type[ProviderOptions],
    given: Mapping[str, str],
    **settled: Any,  # noqa: ANN401
) -> ProviderOptions:
    """Read options that a user wrote as text.

    Args:
        kind: of which provider.
        given: by ONNX Runtime's names.
        settled: what has been decided otherwise, by field; what the user wrote overrides it.

    Raises:
        InputError: there is no such option, it is not for the user to set so, or its value makes
            no sense.
    """
    known = {f.name for f in fields(kind)}
    readers = {name: reader for name, reader in _READERS.items() if name in known}
    return kind(**(settled | read_values(readers, given, _FLAGS)))


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, tuple):
        return ";".join(map(str, value))
    return str(value)


_READERS: dict[str, Reader] = {
    "device_id": whole(0, 1023),
    "gpu_mem_limit": size,
    "arena_extend_strategy": one_of("kNextPowerOfTwo", "kSameAsRequested"),
    "cudnn_conv_algo_search": one_of("EXHAUSTIVE", "HEURISTIC", "DEFAULT"),
    "cudnn_conv_use_max_workspace": switch,
    "prefer_nhwc": switch,
    "trt_max_workspace_size": size,
    "trt_builder_optimization_level": whole(0, 5),
    "trt_auxiliary_streams": whole(0, 64),
    "trt_context_memory_sharing_enable": switch,
    "trt_engine_hw_compatible": switch,
    "trt_engine_cache_enable": switch,
    "trt_engine_cache_path": path,
    "trt_engine_cache_prefix": str,
    "trt_timing_cache_enable": switch,
    "trt_timing_cache_path": path,
}

# What has a flag of its own, since it means the same to every runtime.
_FLAGS = {
    "use_tf32": "--tf32",
    "enable_cuda_graph": "--cuda-graph",
    "trt_cuda_graph_enable": "--cuda-graph",
    "trt_extra_plugin_lib_paths": "--plugin FILE",
    "trt_profile_min_shapes": "--batch MIN:OPT:MAX",
    "trt_profile_opt_shapes": "--batch MIN:OPT:MAX",
    "trt_profile_max_shapes": "--batch MIN:OPT:MAX",
    "trt_fp16_enable": "a model of float16: 'nd-deploy convert' decides the precision",
    "trt_bf16_enable": "a model of bfloat16: 'nd-deploy convert' decides the precision",
}
