"""The three parity gates.

1. fold: the folded graph in float64 against the truth. Its failure is a wrong fold.
2. storage: the model as stored, executed in its dtype by plain numpy. Its failure is a fold that
   does not survive rounding.
3. backend: a runtime with everything that it does to a model by itself. Its failure is the
   runtime's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
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
from nd_deploy.passes.graph import split_parameters
from nd_deploy.runtime.onnxruntime import OnnxRuntimeRunner
from nd_deploy.runtime.reference import ReferenceRunner

CPU = "CPUExecutionProvider"


def fold_gate(graph: gs.Graph, reference: Reference) -> Gate:
    """Gate 1: execute a folded graph in float64, as it is before anything is rounded."""
    outputs = run_float64(graph, reference)
    return Gate(
        "fold",
        "folded graph in float64 against PyTorch in float64",
        worst_error(outputs, reference.truth),
        FOLD_BUDGET,
        "rounding in float64",
        details={"runtime": "numpy"},
    )


def run_float64(graph: gs.Graph, reference: Reference) -> list[Array]:
    """Outputs of a graph with float64 parameters, in order."""
    model, parameters = split_parameters(graph)
    feeds = {name: _widened(x) for name, x in reference.inputs.items()}
    outputs = ReferenceRunner(model, parameters).run(feeds)
    return [outputs[tensor.name] for tensor in graph.outputs]


def storage_gate(model: onnx.ModelProto, reference: Reference) -> Gate:
    """Gate 2: execute the stored model in its own dtype, without any runtime's shortcuts."""
    outputs = list(ReferenceRunner(model, dtype=np.float32).run(reference.inputs).values())
    budget, reason = storage_budget(reference.torch_error)
    return Gate(
        "storage",
        "stored model in float32 against PyTorch in float64",
        worst_error(outputs, reference.truth),
        budget,
        reason,
        details={"runtime": "numpy"},
    )


def backend_gate(
    model: onnx.ModelProto | Path, reference: Reference, providers: Sequence[str] = (CPU,)
) -> tuple[Gate, list[Array]]:
    """Gate 3: execute the stored model as users will, on the provider that was asked for.

    Returns:
        The gate, and the outputs in order.
    """
    runner = OnnxRuntimeRunner(model, providers=tuple(providers))
    outputs: list[Array] = list(runner.run(reference.inputs).values())
    budget, reason = backend_budget(reference.torch_error)
    gate = Gate(
        "backend",
        f"ONNX Runtime, {providers[0]}, against PyTorch in float64",
        worst_error(outputs, reference.truth),
        budget,
        reason,
        details=asdict(runner.receipt),
    )
    return gate, outputs


def _widened(x: Array) -> Array:
    return x.astype(np.float64) if np.issubdtype(x.dtype, np.floating) else x
