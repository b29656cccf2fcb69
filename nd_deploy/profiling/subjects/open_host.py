"""Opens models that run on the processor: in ONNX Runtime, and in PyTorch."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from nd_deploy import compat
from nd_deploy.memory import release_freed_memory
from nd_deploy.profiling.subjects.base import Clock, Job
from nd_deploy.profiling.subjects.host import HostSubject, resident_bytes
from nd_deploy.profiling.subjects.returned import as_outputs, tensors_in
from nd_deploy.runtime.base import Receipt
from nd_deploy.runtime.choose import open_runner
from nd_deploy.runtime.option_values import read_values, whole
from nd_deploy.runtime.options import ORT_CPU
from nd_deploy.threads import torch_threads

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

_THREADS = {"threads": whole(1, 1024)}


def open_ort_cpu(job: Job, clock: Clock) -> HostSubject:
    """Open a job's ONNX file in ONNX Runtime; what is timed is `InferenceSession.run`.

    Raises:
        InputError: an option, the file or an input is not what it has to be.
        GraphError: ONNX Runtime refuses the model.
        BackendError: the model cannot be run so.
        MissingDependencyError: ONNX Runtime is not installed.
    """
    from nd_deploy.runtime.onnxruntime import OnnxRuntimeRunner

    assert job.model is not None
    # Its libraries are in memory before the model, which is not to count for them.
    compat.onnxruntime()
    before = _settled_memory()
    runner = open_runner(job.model, ORT_CPU, job.options)
    assert isinstance(runner, OnnxRuntimeRunner)
    names = runner.output_names

    def named(returned: Sequence[NDArray[Any]]) -> dict[str, NDArray[Any]]:
        return dict(zip(names, returned, strict=True))

    return HostSubject(runner.bound_run(job.feeds), named, runner.receipt, clock, before)


def open_torch(job: Job, clock: Clock) -> HostSubject:
    """Open a job's network in PyTorch's eager mode; what is timed is its call, in float32.

    Raises:
        InputError: an option makes no sense, or the network is no longer to be had.
        MissingDependencyError: PyTorch is not installed.
    """
    torch = compat.torch()
    assert job.network is not None
    asked = read_values(_THREADS, job.options.options).get("threads")
    threads = asked or torch.get_num_threads()
    before = _settled_memory()
    network = job.network.load()
    # What reading and checking the weights took, and gave up again, is not the network's.
    release_freed_memory()
    receipt = Receipt(
        runtime="torch",
        version=torch.__version__,
        providers_asked=("CPU",),
        providers_got=("CPU",),
        threads=threads,
        tf32=torch.get_float32_matmul_precision() != "highest",
    )
    call = functools.partial(network, *map(_float32_tensor, job.feeds.values()))
    during = functools.partial(_inference, threads)

    def named(returned: object) -> dict[str, NDArray[Any]]:
        return as_outputs(tensors_in(returned))

    return HostSubject(call, named, receipt, clock, before, during)


def _settled_memory() -> int:
    release_freed_memory()
    return resident_bytes()


def _float32_tensor(array: NDArray[Any]) -> Tensor:
    import torch

    tensor = torch.tensor(array)
    return tensor.float() if tensor.is_floating_point() else tensor


@contextlib.contextmanager
def _inference(threads: int) -> Iterator[None]:
    """PyTorch's number of threads is one for the whole process, so that it is set for each turn."""
    import torch

    with torch_threads(threads), torch.inference_mode():
        yield
