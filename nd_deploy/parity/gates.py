"""The three parity gates.

1. fold: the folded graph in float64 against the truth. Its failure is a wrong fold.
2. storage: the weights as they are stored, computed with in float64, so that nothing but their
   rounding shows. Its failure is a fold that does not survive it.
3. backend: a runtime with everything that it does to a model by itself. Its failure is the
   runtime's.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import onnx
import onnx_graphsurgeon as gs

from nd_deploy.parity.measure import (
    FOLD_BUDGET,
    Array,
    backend_budget,
    storage_budget,
    worst_error,
)
from nd_deploy.parity.reference import Reference
from nd_deploy.parity.report import Gate
from nd_deploy.passes.model import split_parameters
from nd_deploy.passes.pipeline import run_on_graph
from nd_deploy.runtime.base import Receipt
from nd_deploy.runtime.choose import OpenRunner, opener
from nd_deploy.runtime.options import ORT_CPU
from nd_deploy.runtime.reference import ReferenceRunner
from nd_deploy.threads import single_threaded_numpy

_TITLES = {"onnxruntime": "ONNX Runtime", "tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT-RTX"}


def fold_gate(folded: gs.Graph, unfolded: gs.Graph, reference: Reference) -> Gate:
    """Gate 1: execute the folded graph in float64, as it is before anything is rounded.

    It is held against PyTorch, which proves the export along with the fold. Where PyTorch's
    exporter has itself rounded a number that stands in the network's code, the fold is held
    against the graph before folding.
    """
    outputs = run_float64(folded, reference)
    error = worst_error(outputs, reference.truth)
    compares = "folded graph in float64 against PyTorch in float64"
    if error > FOLD_BUDGET:
        before = run_float64(unfolded, reference)
        compares = (
            "folded graph against the unfolded one, both in float64; torch.onnx's own export "
            f"differs from PyTorch by {worst_error(before, reference.truth):.1e}"
        )
        error = worst_error(outputs, before)
    return _fold_result(compares, error)


def refold_gate(unfolded: gs.Graph, reference: Reference) -> Gate:
    """Gate 1 without PyTorch: fold a graph, using it up, and hold it against itself before."""
    before = run_float64(unfolded, reference)
    run_on_graph(unfolded)
    error = worst_error(run_float64(unfolded, reference), before)
    return _fold_result("folded graph against the unfolded one, both in float64", error)


def _fold_result(compares: str, error: float) -> Gate:
    details = {"runtime": "numpy"}
    return Gate("fold", compares, error, FOLD_BUDGET, "rounding in float64", details=details)


def run_float64(graph: gs.Graph, reference: Reference) -> list[Array]:
    """Outputs of a graph in float64 arithmetic, whatever its parameters are kept in, in order."""
    model, parameters = split_parameters(graph)
    with single_threaded_numpy():
        outputs = ReferenceRunner(model, parameters).run(reference.inputs)
    return [outputs[tensor.name] for tensor in graph.outputs]


def storage_gate(graph: gs.Graph, reference: Reference) -> Gate:
    """Gate 2: execute a graph of stored weights in float64.

    Float32 arithmetic is left to the backend gate: two float32 computations of the same numbers
    differ by chance, which would drown what rounding the weights does.
    """
    budget, reason = storage_budget(reference.torch_error)
    return Gate(
        "storage",
        "float32 weights in float64 arithmetic against PyTorch in float64",
        worst_error(run_float64(graph, reference), reference.truth),
        budget,
        reason,
        details={"runtime": "numpy"},
    )


def backend_gate(
    model: onnx.ModelProto | Path, reference: Reference, open_runner: OpenRunner | None = None
) -> tuple[Gate, list[Array]]:
    """Gate 3: execute the stored model as users will, in the runtime that was asked for.

    Args:
        model: the model, or its file.
        reference: to hold it against.
        open_runner: opens it; None for ONNX Runtime on the CPU.

    Returns:
        The gate, and the outputs in order.
    """
    runner = (open_runner or opener(ORT_CPU))(model)
    outputs: list[Array] = list(runner.run(reference.inputs).values())
    budget, reason = backend_budget(reference.torch_error)
    gate = Gate(
        "backend",
        f"{_describe(runner.receipt)}, against PyTorch in float64",
        worst_error(outputs, reference.truth),
        budget,
        reason,
        details=asdict(runner.receipt),
    )
    return gate, outputs


def _describe(receipt: Receipt) -> str:
    """The runtime, and what it ran the model on."""
    title = _TITLES.get(receipt.runtime, receipt.runtime)
    return ", ".join(dict.fromkeys([title, *receipt.providers_asked[:1]]))
