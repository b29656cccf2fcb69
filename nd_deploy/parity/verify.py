"""The parity gates again, on this machine, from what a bundle holds. PyTorch is not needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnx

from nd_deploy.bundle import Bundle, read_bundle
from nd_deploy.parity.gates import backend_gate, refold_gate, storage_gate
from nd_deploy.parity.layers import LayerError, compare_layers
from nd_deploy.parity.measure import top1_agreement
from nd_deploy.parity.reference import Reference
from nd_deploy.parity.report import Gate, ParityReport
from nd_deploy.passes.model import load
from nd_deploy.runtime.choose import deployed_model, opener
from nd_deploy.runtime.options import ORT_CPU, RunOptions
from nd_deploy.targets import portable

__all__ = ["LayerError", "Verification", "verify"]


@dataclass(frozen=True)
class Verification:
    """What was found.

    Attributes:
        report: the gates.
        layers: the error of every layer, where it was asked for.
    """

    report: ParityReport
    layers: Sequence[LayerError] | None = None


def verify(
    path: Path | str,
    *,
    runtime: str = ORT_CPU,
    options: RunOptions | None = None,
    per_layer: bool = False,
    report: Callable[[str], None] = lambda line: None,
) -> Verification:
    """Check a bundle against the PyTorch outputs that it holds.

    Args:
        path: the bundle's folder.
        runtime: what runs the model for the backend gate, one of
            `nd_deploy.runtime.options.RUNTIMES`.
        options: how it is to run it.
        per_layer: compare every layer too.
        report: called with a line of text as an engine is built, which may take minutes.

    Returns:
        The gates; whether they passed is for the caller to act on.

    Raises:
        BundleError: the folder is no bundle, or its files have changed.
        InputError: the options make no sense with the runtime.
        BackendError: the runtime is not there, or would run something else than asked.
        MissingDependencyError: the runtime is not installed.
    """
    open_runner = opener(runtime, options, report)
    bundle = read_bundle(Path(path))
    reference = Reference.from_arrays(bundle.reference())
    # Whoever the model is written for, the reference runs function bodies.
    model = portable(onnx.load(bundle.model_path))
    backend, outputs = backend_gate(deployed_model(bundle, runtime), reference, open_runner)
    gates = [_fold_gate(bundle, reference), storage_gate(load(model), reference), backend]
    agreement = top1_agreement(outputs, reference.truth)
    layers = None
    if per_layer:
        layers = compare_layers(model, bundle.decisions, reference, open_runner)
    return Verification(ParityReport(gates, agreement, reference.samples), layers)


def _fold_gate(bundle: Bundle, reference: Reference) -> Gate:
    """Gate 1 again where the bundle has the unfolded model, else as it was recorded.

    The record still holds, because reading the bundle has checked that the model is unchanged.
    """
    if bundle.unfolded_path is None:
        recorded = next(gate for gate in bundle.parity.gates if gate.name == "fold")
        return replace(recorded, recorded=True)
    return refold_gate(load(onnx.load(bundle.unfolded_path)), reference)
