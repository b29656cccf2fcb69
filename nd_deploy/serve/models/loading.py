"""From a bundle to a model that is checked, warm and ready to serve."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nd_deploy.bundle import Bundle, read_bundle
from nd_deploy.bundle.files import sha256
from nd_deploy.bundle.manifest import DISTRUST, MANIFEST, Manifest
from nd_deploy.errors import BundleError, InputError
from nd_deploy.memory import release_freed_memory
from nd_deploy.parity.reference import Reference
from nd_deploy.profiling.environment.cgroup import quota
from nd_deploy.runtime.choose import deployed_model, open_runner
from nd_deploy.runtime.feeds import Port
from nd_deploy.runtime.options import (
    ORT_CPU,
    ORT_RUNTIMES,
    ORT_TENSORRT,
    RunOptions,
    check_runtime,
)
from nd_deploy.serve.models.buckets import buckets_up_to
from nd_deploy.serve.models.description import describe
from nd_deploy.serve.models.files import check_files
from nd_deploy.serve.models.golden import check_golden, warm_up
from nd_deploy.serve.models.loaded import LoadedModel
from nd_deploy.serve.models.one_thread import OneThreadRunner

if TYPE_CHECKING:
    from nd_deploy.runtime.base import Runner
    from nd_deploy.serve.exchange import ModelSpec
    from nd_deploy.serve.models.source import Source
    from nd_deploy.serve.settings import Settings


def load_source(source: Source, version: str, settings: Settings) -> LoadedModel:
    """`load`, of what the operator asked for."""
    return load(
        source.path,
        source.name,
        version,
        settings,
        source.runtime,
        source.options,
        labels=source.labels,
    )


def load(
    path: Path,
    name: str,
    version: str,
    settings: Settings,
    runtime: str = ORT_CPU,
    options: RunOptions | None = None,
    *,
    labels: Sequence[str] | None = None,
) -> LoadedModel:
    """Load a bundle: check it, open it, hold it against PyTorch, warm it up.

    It blocks for seconds, and lets other threads run meanwhile.

    Args:
        path: the bundle's folder, or a link to it.
        name: under which it is served.
        version: of it.
        settings: of which `instances`, `threads` and `max_batch` count here.
        runtime: one of `nd_deploy.runtime.options.ORT_RUNTIMES`.
        options: how to run it; what they do not name, such as a plugin library, is not loaded.
        labels: the operator's names of the classes; None for the bundle's own.

    Raises:
        BundleError: the folder is no bundle, is not as it was written, changed meanwhile, or holds
            what a server does not read: links, an engine, files that would fill the memory.
        InputError: the labels do not fit, or an option makes no sense with the model.
        GraphError: the runtime refuses the model.
        BackendError: it cannot be run as asked, such as on a GPU that is not there.
        ParityError: it does not give the outputs that PyTorch gave.
        MissingDependencyError: the runtime is not installed.
    """
    chosen = RunOptions() if options is None else options
    _check_runtime(runtime, chosen)
    try:
        return _load(path, name, version, settings, runtime, chosen, labels)
    except OSError as error:
        raise BundleError(
            f"{path} cannot be read: {error.strerror or error}",
            "check that it is there and may be read",
        ) from error
    finally:
        release_freed_memory()


def _load(
    folder: Path,
    name: str,
    version: str,
    settings: Settings,
    runtime: str,
    options: RunOptions,
    labels: Sequence[str] | None,
) -> LoadedModel:
    bundle, digest = _read(folder, runtime)
    reference = Reference.from_arrays(bundle.reference())
    spec = describe(name, version, bundle.manifest, labels, settings.max_batch)
    _check_graphs(spec, bundle.manifest, options)
    runners = _open(bundle, runtime, _with_profile(options, runtime, spec), settings)
    model = LoadedModel(
        replace(spec, providers=runners[0].receipt.providers_asked),
        digest,
        [Port(port.name, port.dtype, port.shape) for port in bundle.manifest.inputs],
        runners,
        buckets_up_to(spec.max_batch) if spec.batching and runtime != ORT_CPU else (),
    )
    check_golden(model, reference, bundle)
    warm_up(model, reference)
    if sha256(folder / MANIFEST) != digest:
        raise BundleError(f"{folder} changed while it was read", "wait until it is whole")
    return model


def _read(folder: Path, runtime: str) -> tuple[Bundle, str]:
    """The bundle, and the hash of its manifest from before the rest was read."""
    if folder.is_dir():
        check_files(folder)
    manifest = folder / MANIFEST
    digest = sha256(manifest) if manifest.is_file() else ""
    bundle = read_bundle(folder)
    if runtime == ORT_TENSORRT:
        _refuse_engines(bundle.model_path)
    return bundle, digest


def _refuse_engines(model: Path) -> None:
    """An engine runs code of whoever built it, and a model may carry one in a node of this type."""
    if b"EPContext" in model.read_bytes():
        raise BundleError(f"{model} carries a TensorRT engine", DISTRUST)


def _check_runtime(runtime: str, options: RunOptions) -> None:
    check_runtime(runtime, options)
    if runtime not in ORT_RUNTIMES:
        raise InputError(
            f"{runtime} is not served here",
            f"choose from {', '.join(ORT_RUNTIMES)}; Triton serves engines: "
            "nd-deploy export-triton",
        )


def _check_graphs(spec: ModelSpec, manifest: Manifest, options: RunOptions) -> None:
    """Refuse graphs of shapes that only clients know, each of which would be captured and kept."""
    if not options.cuda_graph:
        return
    first = 1 if spec.batching else 0
    sizes = [size for port in manifest.inputs for size in port.shape[first:]]
    if any(isinstance(size, str) for size in sizes):
        raise InputError(
            f"--cuda-graph: model {spec.name!r} takes shapes that cannot be filled up to a few "
            "sizes, and each would get a graph of its own",
            "drop it, or convert the network for one image size and, where outputs depend on the "
            "batch, one batch",
        )


def _with_profile(options: RunOptions, runtime: str, spec: ModelSpec) -> RunOptions:
    """Have TensorRT build one engine for all batches, and not one more whenever a larger comes."""
    if runtime != ORT_TENSORRT or not spec.max_batch or options.batch is not None:
        return options
    return replace(options, batch=f"1:{spec.max_batch}:{spec.max_batch}")


def _open(bundle: Bundle, runtime: str, options: RunOptions, settings: Settings) -> list[Runner]:
    threads = settings.threads or max(1, _processors() // settings.instances)
    shared = replace(options, options={"threads": str(threads), **options.options})
    model = deployed_model(bundle, runtime)
    runners = [open_runner(model, runtime, shared) for _ in range(settings.instances)]
    return [OneThreadRunner(runner) for runner in runners] if options.cuda_graph else runners


def _processors() -> int:
    """Those that this process may use, by its affinity and its control group."""
    allowed = len(os.sched_getaffinity(0))
    share = quota(Path("/"))
    return allowed if share is None else max(1, min(allowed, int(share)))
