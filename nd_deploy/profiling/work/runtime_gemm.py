"""How fast a runtime multiplies matrices: a model of one product, run as a row's own model is."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nd_deploy.profiling.contestant import TORCH, TORCH_CUDA
from nd_deploy.profiling.figures import COMPUTE, LATENCY
from nd_deploy.profiling.subjects.base import Job, Subject
from nd_deploy.profiling.work.gemm import matrix, operations, words
from nd_deploy.profiling.work.timing import Rate, least_seconds

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

Opener = Callable[[Job], Subject]
"""Opens a job, in this process or in another one."""

_INPUT, _OUTPUT = "rows", "product"
_OPSET = 17


def runtime_rate(job: Job, size: int, dtype: str, open_subject: Opener) -> Rate:
    """Measure the product of two square matrices, of which one is a weight.

    Args:
        job: how to run it: in the runtime, with the threads and in the precision of this.
        size: of the matrices.
        dtype: of the model that is run.
        open_subject: opens a job.

    Returns:
        Floating point operations a second: by the GPU's own clock where the runtime gives its
        time, by the host's where not.

    Raises:
        InputError, GraphError, BackendError, MissingDependencyError: as of opening and running it.
    """
    with tempfile.TemporaryDirectory(prefix="nd-deploy-") as folder:
        product = _product_job(job, size, dtype, Path(folder))
        with contextlib.closing(open_subject(product)) as subject:
            subject.outputs()
            seconds = least_seconds(lambda times: _shortest(subject, times))
    return Rate(operations(size) / seconds, _words(job, size, dtype))


@dataclass(frozen=True)
class Product:
    """A linear layer without a bias, as a `NetworkSource`.

    Attributes:
        size: of its weight's rows and columns.
    """

    size: int

    def load(self) -> nn.Module:
        """The layer, in eval mode."""
        import torch
        from torch import nn

        layer = nn.Linear(self.size, self.size, bias=False).eval()
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(matrix(self.size, "float32")))
        return layer


def write_product(path: Path, size: int, dtype: str) -> None:
    """Write the ONNX model of a product with a weight."""
    import onnx
    from onnx import helper

    weight = onnx.numpy_helper.from_array(matrix(size, dtype), "weight")
    ports = [
        helper.make_tensor_value_info(name, weight.data_type, (size, size))
        for name in (_INPUT, _OUTPUT)
    ]
    node = helper.make_node("MatMul", [_INPUT, "weight"], [_OUTPUT], name="product")
    graph = helper.make_graph([node], "product", ports[:1], ports[1:], [weight])
    opset = helper.make_opsetid("", _OPSET)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), path)


def _product_job(job: Job, size: int, dtype: str, folder: Path) -> Job:
    options = replace(
        job.options,
        plugins=(),
        cuda_graph=False,
        engine=None,
        trust_unrecorded=False,
        batch=None,
        shapes=(),
    )
    contestant = replace(job.contestant, model=_OUTPUT, cuda_graph=False, cold_l2=False)
    feeds: dict[str, NDArray[Any]] = {_INPUT: matrix(size, dtype, seed=1)}
    if job.contestant.runtime in (TORCH, TORCH_CUDA):
        return Job(contestant, None, Product(size), options, feeds)
    path = folder / "product.onnx"
    write_product(path, size, dtype)
    return Job(contestant, path, None, options, feeds)


def _shortest(subject: Subject, times: int) -> float:
    samples = subject.measure(times)
    return float(samples.get(COMPUTE, samples[LATENCY]).min())


def _words(job: Job, size: int, dtype: str) -> str:
    precision = job.options.precision or dtype
    tf32 = " with TF32" if precision == "float32" and job.options.tf32 else ""
    return f"{words(size, precision)}{tf32}, by {job.contestant.runtime}"
