"""The parity gates again, on this machine, from what a bundle holds. PyTorch is not needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnx

from nd_deploy.bundle import Bundle, read_bundle
from nd_deploy.parity.gates import CPU, backend_gate, refold_gate, storage_gate
from nd_deploy.parity.layers import LayerError, compare_layers
from nd_deploy.parity.measure import top1_agreement
from nd_deploy.parity.reference import Reference
from nd_deploy.parity.report import Gate, ParityReport
from nd_deploy.passes.model import load
from nd_deploy.targets import find_target, portable

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
    path: Path | str, *, providers: Sequence[str] = (CPU,), per_layer: bool = False
) -> Verification:
    """Check a bundle against the PyTorch outputs that it holds.

    Args:
        path: the bundle's folder.
        providers: ONNX Runtime's execution providers for the backend gate.
        per_layer: compare every layer too.

    Returns:
        The gates; whether they passed is for the caller to act on.

    Raises:
        BundleError: the folder is no bundle, or its files have changed.
        BackendError: a provider is not there, or the runtime fell back to another.
    """
    bundle = read_bundle(Path(path))
    reference = Reference.from_arrays(bundle.reference())
    # Whoever the model is written for, ONNX Runtime and the reference run function bodies.
    model = portable(onnx.load(bundle.model_path))
    has_bodies = find_target(bundle.manifest.target).bodies
    deployed = bundle.model_path if has_bodies else model
    backend, outputs = backend_gate(deployed, reference, providers)
    gates = [_fold_gate(bundle, reference), storage_gate(load(model), reference), backend]
    report = ParityReport(gates, top1_agreement(outputs, reference.truth), reference.samples)
    layers = None
    if per_layer:
        layers = compare_layers(model, bundle.decisions, reference, providers)
    return Verification(report, layers)


def _fold_gate(bundle: Bundle, reference: Reference) -> Gate:
    """Gate 1 again where the bundle has the unfolded model, else as it was recorded.

    The record still holds, because reading the bundle has checked that the model is unchanged.
    """
    if bundle.unfolded_path is None:
        recorded = next(gate for gate in bundle.parity.gates if gate.name == "fold")
        return replace(recorded, recorded=True)
    return refold_gate(load(onnx.load(bundle.unfolded_path)), reference)
