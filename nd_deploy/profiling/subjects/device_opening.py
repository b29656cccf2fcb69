"""Opens models that run on a GPU, or says why they cannot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from nd_deploy.compat import cuda as cuda_compat
from nd_deploy.compat.cuda import Cuda
from nd_deploy.profiling.contestant import TORCH_CUDA
from nd_deploy.profiling.subjects.base import Clock, Job
from nd_deploy.profiling.subjects.device import (
    GRAPHS_IN_FLIGHT,
    IN_FLIGHT,
    DeviceRun,
    DeviceSubject,
)
from nd_deploy.profiling.subjects.device_memory import MemoryMark
from nd_deploy.runtime.choose import open_runner
from nd_deploy.runtime.option_values import read_values, whole
from nd_deploy.runtime.options import (
    ENGINE_RUNTIMES,
    ORT_CUDA,
    ORT_TENSORRT,
    RunOptions,
    check_runtime,
)
from nd_deploy.runtime.tensorrt.device import require_device
from nd_deploy.runtime.tensorrt.running.buffers import Stream

_DEVICE = {"device_id": whole(0, 1023)}


def open_device(job: Job, clock: Clock) -> DeviceSubject:
    """Open a contestant on a GPU in this process.

    Args:
        job: what to open, and how. An engine is built for the contestant's batch alone, unless the
            options name one, or say what to build for.
        clock: the host's.

    Returns:
        The subject, loaded. In ONNX Runtime it tells "compute" and "enqueue" on the CUDA provider
        without CUDA graphs alone; `nd_deploy.profiling.subjects.device_ort` says why.

    Raises:
        InputError: an option, a file or an input is not what it has to be.
        GraphError: the runtime refuses the model.
        BackendError: there is no GPU, or the model cannot be run there as asked.
        MissingDependencyError: the runtime, or a package for CUDA, is not installed.
    """
    runtime = job.contestant.runtime
    if runtime == TORCH_CUDA:
        return _open_torch(job, clock)
    check_runtime(runtime, job.options)
    return _open_engine(job, clock) if runtime in ENGINE_RUNTIMES else _open_ort(job, clock)


def _open_engine(job: Job, clock: Clock) -> DeviceSubject:
    from nd_deploy.profiling.subjects.device_engine import EngineRun
    from nd_deploy.runtime.tensorrt.running.runner import TensorRTRunner

    assert job.model is not None
    device = require_device(_device_of(job.options)).index
    cuda = cuda_compat.find()
    before = MemoryMark.now(cuda)
    runner = open_runner(job.model, job.contestant.runtime, for_batch(job, job.model))
    assert isinstance(runner, TensorRTRunner)
    run = EngineRun(runner, job.feeds, cuda, device)
    return _subject(job, run, cuda, clock, device, before)


def _open_ort(job: Job, clock: Clock) -> DeviceSubject:
    from nd_deploy.profiling.subjects.device_ort import OrtRun, require_copies
    from nd_deploy.runtime.open_ort import open_ort
    from nd_deploy.runtime.ort.libraries import require_libraries, require_providers
    from nd_deploy.runtime.ort.names import CUDA, TENSORRT

    assert job.model is not None
    runtime = job.contestant.runtime
    provider = CUDA if runtime == ORT_CUDA else TENSORRT
    require_providers([provider])
    require_libraries(provider)
    device = require_device(_device_of(job.options)).index
    cuda = cuda_compat.find()
    require_copies(cuda)
    before = MemoryMark.now(cuda)
    waits = runtime == ORT_TENSORRT or job.options.cuda_graph
    stream = Stream(cuda)
    runner = open_ort(
        job.model,
        runtime,
        for_batch(job, job.model),
        optimise=True,
        stream=None if waits else stream.handle,
    )
    run = OrtRun(runner, job.feeds, cuda, device, stream, waits)
    return _subject(job, run, cuda, clock, device, before)


def _open_torch(job: Job, clock: Clock) -> DeviceSubject:
    from nd_deploy.profiling.subjects.device_torch import TorchRun, require_cuda

    assert job.network is not None
    cuda = require_cuda()
    from nd_deploy.nd.twin import float32_copy

    device = require_device(read_values(_DEVICE, job.options.options).get("device_id", 0), cuda)
    before = MemoryMark.now(cuda)
    run = TorchRun(
        float32_copy(job.network.load()),
        list(job.feeds.values()),
        cuda,
        device,
        job.options.tf32,
        job.options.cuda_graph,
    )
    return _subject(job, run, cuda, clock, device.index, before)


def _subject(
    job: Job, run: DeviceRun, cuda: Cuda, clock: Clock, device: int, before: MemoryMark
) -> DeviceSubject:
    return DeviceSubject(
        run,
        cuda,
        clock,
        device=device,
        before=before,
        cold_l2=job.contestant.cold_l2,
        in_flight=GRAPHS_IN_FLIGHT if job.options.cuda_graph else IN_FLIGHT,
    )


def _device_of(options: RunOptions) -> int:
    """CUDA's number of the GPU that a runtime is to take; it reads its other options itself."""
    named = {name: options.options[name] for name in _DEVICE if name in options.options}
    device: int = read_values(_DEVICE, named).get("device_id", 0)
    return device


def for_batch(job: Job, model: Path) -> RunOptions:
    """The options, with the contestant's batch to build for where they leave that open."""
    options = job.options
    settled = options.batch is not None or options.shapes or options.engine is not None
    if settled or job.contestant.runtime == ORT_CUDA or not _batch_is_open(model):
        return options
    return replace(options, batch=str(job.contestant.batch))


def _batch_is_open(model: Path) -> bool:
    from nd_deploy.runtime.tensorrt.facts import read_facts

    shapes = (port.shape for port in read_facts(model).inputs)
    return any(shape and isinstance(shape[0], str) for shape in shapes)
