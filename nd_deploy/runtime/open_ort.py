"""Opens ONNX Runtime's sessions from the options that every runtime understands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nd_deploy import compat
from nd_deploy.errors import InputError
from nd_deploy.nd.ops import OPS
from nd_deploy.runtime.onnxruntime import OnnxRuntimeRunner
from nd_deploy.runtime.option_values import read_values, whole
from nd_deploy.runtime.options import ORT_CPU, ORT_CUDA, RunOptions
from nd_deploy.runtime.ort import plugins
from nd_deploy.runtime.ort.engine_folder import engine_folder
from nd_deploy.runtime.ort.libraries import require_libraries, require_providers, tensorrt_version
from nd_deploy.runtime.ort.names import CPU, CUDA, TENSORRT
from nd_deploy.runtime.ort.providers import CudaOptions, TensorrtOptions, read_options
from nd_deploy.runtime.tensorrt.kept.engine_key import EngineKey
from nd_deploy.runtime.tensorrt.profile import Profile, canonical, parse_batch, parse_shape

if TYPE_CHECKING:
    from onnx import ModelProto

    from nd_deploy.runtime.tensorrt.facts import ModelFacts

_THREADS = {"threads": whole(1, 1024)}
# What decides nothing about an engine, or is in its key under another name.
_ELSEWHERE = ("device_id", "trt_cuda_graph_enable", "trt_extra_plugin_lib_paths")


def open_ort(
    model: ModelProto | Path,
    runtime: str,
    options: RunOptions,
    optimise: bool,
    trace: Path | None = None,
    stream: int | None = None,
) -> OnnxRuntimeRunner:
    """Open a model in ONNX Runtime.

    Args:
        model: the model, or its file; the TensorRT provider takes a file alone.
        runtime: one of `nd_deploy.runtime.options.ORT_RUNTIMES`.
        options: how to run it; already checked against the runtime.
        optimise: whether ONNX Runtime may rewrite the graph.
        trace: as of `OnnxRuntimeRunner`.
        stream: CUDA's number of the stream that the CUDA provider is to compute in, which has to
            outlive the runner; None for the provider's own.

    Raises:
        InputError: an option makes no sense, or a file is missing.
        GraphError: ONNX Runtime refuses the model.
        BackendError: it cannot be run so.
        MissingDependencyError: ONNX Runtime is not installed.
    """
    own = dict(options.options)
    if runtime == ORT_CPU:
        threads = read_values(_THREADS, own)
        return OnnxRuntimeRunner(model, (CPU,), optimise, trace=trace, **threads)
    threads = read_values(_THREADS, {n: own.pop(n) for n in _THREADS if n in own})
    if runtime == ORT_CUDA:
        provider, entries = CUDA, _cuda(own, options, stream).entries()
    else:
        if not isinstance(model, Path):
            raise InputError("the TensorRT provider is given no file", "save the model first")
        provider, entries = TENSORRT, _tensorrt(own, options, model).entries()
    return OnnxRuntimeRunner(
        model,
        (provider,),
        optimise,
        provider_options={provider: entries},
        tf32=options.tf32,
        trace=trace,
        **threads,
    )


def _cuda(own: Mapping[str, str], options: RunOptions, stream: int | None) -> CudaOptions:
    return read_options(
        CudaOptions,
        own,
        use_tf32=options.tf32,
        enable_cuda_graph=options.cuda_graph,
        user_compute_stream=stream,
    )


def _tensorrt(own: Mapping[str, str], options: RunOptions, model: Path) -> TensorrtOptions:
    from nd_deploy.runtime.tensorrt.facts import read_facts
    from nd_deploy.runtime.tensorrt.shapes import make_profiles

    paths = tuple(path.absolute() for path in options.plugins)
    found = read_options(
        TensorrtOptions,
        own,
        trt_cuda_graph_enable=options.cuda_graph,
        trt_extra_plugin_lib_paths=paths,
        trt_engine_cache_enable=True,
        trt_timing_cache_enable=True,
    )
    facts = read_facts(model)
    hashes = tuple(plugins.check_plugin(path, _wanted(facts, paths)) for path in paths)
    profile = None
    if options.batch is not None or options.shapes:
        batches = [] if options.batch is None else [parse_batch(options.batch)]
        (profile,) = make_profiles(facts.inputs, batches, list(map(parse_shape, options.shapes)))
        found = _with_profile(found, profile)
    if not found.trt_engine_cache_enable:
        return found
    # The key names TensorRT's version, which only the library itself tells.
    require_providers([TENSORRT])
    require_libraries(TENSORRT)
    folder = engine_folder(
        _key(facts, found, options, profile, hashes), found.trt_engine_cache_path
    )
    return replace(
        found,
        trt_engine_cache_path=folder,
        trt_timing_cache_path=found.trt_timing_cache_path or folder,
    )


def _wanted(facts: ModelFacts, libraries: Sequence[Path]) -> list[str]:
    """The plugins that a library has to bring; of several, each may bring some."""
    if len(libraries) > 1:
        return []
    return sorted({n.op_type for n in facts.nodes if n.is_nd and OPS[n.op_type].plugin})


def _with_profile(found: TensorrtOptions, profile: Profile) -> TensorrtOptions:
    """A profile in the TensorRT provider's own notation."""
    smallest, usual, largest = (
        ",".join(
            f"{name}:{'x'.join(map(str, shapes[place]))}" for name, shapes in profile.shapes.items()
        )
        for place in range(3)
    )
    return replace(
        found,
        trt_profile_min_shapes=smallest,
        trt_profile_opt_shapes=usual,
        trt_profile_max_shapes=largest,
    )


def _key(
    facts: ModelFacts,
    found: TensorrtOptions,
    options: RunOptions,
    profile: Profile | None,
    hashes: tuple[str, ...],
) -> EngineKey:
    from nd_deploy.compat import cuda_driver

    flags = [
        f"{name}={value}"
        for name, value in found.entries().items()
        if name not in _ELSEWHERE and "_cache_" not in name
    ]
    device = cuda_driver.device(found.device_id)
    version = compat.onnxruntime().__version__
    return EngineKey(
        model_sha256=facts.sha256,
        library="onnxruntime",
        version=f"{version}, TensorRT {tensorrt_version()}",
        device=device.name,
        compute_capability=device.compute_capability,
        precision=facts.precision,
        tf32=options.tf32,
        profiles="" if profile is None else canonical([profile]),
        plugins=hashes,
        flags=tuple(flags),
    )
