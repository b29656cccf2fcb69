"""From a trained network to a bundle: recognise, export, fold, prove, write."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from torch import Tensor, nn

from nd_deploy.bundle import (
    UNFOLDED,
    Bundle,
    BundleDraft,
    check_labels,
    check_output,
    new_bundle,
)
from nd_deploy.bundle.manifest import BATCH, STATISTICS
from nd_deploy.errors import InputError, ParityError
from nd_deploy.explain.network import spectra_of
from nd_deploy.explain.record import to_arrays
from nd_deploy.exporter import trace
from nd_deploy.memory import release_freed_memory
from nd_deploy.nd.batch_statistics import batch_statistics_twin, on_batch_statistics
from nd_deploy.nd.recognise import recognise
from nd_deploy.networks.ready import on_one_device
from nd_deploy.parity.gates import backend_gate, fold_gate, storage_gate
from nd_deploy.parity.measure import top1_agreement
from nd_deploy.parity.other_sizes import OtherSize, check_other_sizes, record_other_sizes
from nd_deploy.parity.record import record_reference
from nd_deploy.parity.reference import Reference
from nd_deploy.parity.report import Gate, ParityReport
from nd_deploy.passes.base import Decision, Pass
from nd_deploy.passes.model import narrow, store, to_model
from nd_deploy.passes.pipeline import PLUGIN, passes_for, run_on_graph
from nd_deploy.preprocess import Preprocessing
from nd_deploy.targets import Target, find_target, fit

_DEPENDS_ON_BATCH = (
    "outputs depend on what else is in the batch: do not pad batches, and expect other results at "
    "other sizes of them"
)
# Outputs of a network whose statistics have settled stay far below this.
_UNSETTLED = 1e6


def convert(
    module: nn.Module,
    example_input: Tensor | Sequence[Tensor],
    output: Path | str,
    *,
    network: str | None = None,
    checkpoint: Mapping[str, str | None] | None = None,
    preprocessing: Preprocessing | None = None,
    labels: Sequence[str] | None = None,
    dynamic_batch: bool = True,
    dynamic_spatial: bool = False,
    target: str = "portable",
    whitening: str = "conv",
    statistics: str = "running",
    keep_unfolded: bool = False,
    overwrite: bool = False,
    seed: int | None = None,
    command: str | None = None,
    origin: Mapping[str, Any] | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> Bundle:
    """Convert a trained ND network into a folded ONNX model that is proven equal to it.

    Args:
        module: the network with its trained weights, in any mode and on any device; not changed.
        example_input: (N, C, H, W) or (N, F) float32, or one tensor for each input. The parity
            gates compare on it, so a few samples like real ones are best.
        output: the bundle's folder, which must not exist.
        network: the network's name in reports.
        checkpoint: name, sha256, format and arch of the weights' file, for the record.
        preprocessing: how an image becomes the input, for `nd-deploy run`.
        labels: names of the classes, in order.
        dynamic_batch: let the model take any batch.
        dynamic_spatial: let it take any image size.
        target: the kind of host that the model is for: "portable", "tensorrt", "tensorrt<=10.6",
            "ort-tensorrt" or "inlined"; see `nd_deploy.targets`.
        whitening: what becomes of a ChannelDeconv that no other layer takes: "conv" for a 1x1
            convolution, "plugin" for the op of the TensorRT plugin.
        statistics: what ND layers whiten by: "running" for the running averages, which fold;
            "batch" for the statistics of each batch, as in training, computed at inference.
        keep_unfolded: keep the model before folding in the bundle, so that the fold gate can be
            run again without PyTorch.
        overwrite: replace a bundle at `output`.
        seed: of `example_input`, for the record.
        command: the command line, for the record.
        origin: how to build the network again, for `nd-deploy profile` to run it in PyTorch: what
            `nd_deploy.origin.record` gives.
        report: called with a line of text as each step begins.

    Returns:
        The bundle.

    Raises:
        UnsupportedLayerError: an ND layer computes no known formula, holds NaN, or cannot be run
            on the statistics of the batch.
        InputError: the network rejects `example_input`, or has another number of classes than
            there are labels; `target`, `whitening` or `statistics` is unknown, or they do not go
            together.
        ExportError: the network cannot be traced, or its trace holds at the example's size alone.
        ParityError: a parity gate failed; nothing is written.
        BundleError: `output` cannot be written.
    """
    check_output(Path(output), overwrite)
    host, passes = _placement(target, whitening)
    _check_statistics(statistics)
    module = on_one_device(module)
    report("recognising the ND layers")
    recognition = recognise(module)
    by_batch = statistics == BATCH
    truth = module
    if by_batch:
        recognition = on_batch_statistics(module, recognition)
        truth = batch_statistics_twin(module, recognition)
    report("running PyTorch in float32 and float64")
    inputs = _named(example_input)
    reference = record_reference(truth, recognition, inputs)
    check_labels(labels, reference.truth[0].shape)
    other_sizes, unproven = record_other_sizes(truth, inputs, dynamic_batch, dynamic_spatial)
    warnings = [*recognition.warnings, *unproven]
    warnings += [_DEPENDS_ON_BATCH] if by_batch else _unsettled(reference)
    if not recognition.layers:
        warnings.append("the network has no ND layer, so there was nothing to fold")
    report("exporting to the ND dialect")
    graph = trace(module, recognition, tuple(inputs.values()), dynamic_batch, dynamic_spatial)
    with new_bundle(output, overwrite) as draft:
        if keep_unfolded:
            draft.save(store(graph), UNFOLDED)
        report("folding")
        decisions, gates = _fold(graph, passes, reference, other_sizes)
        report("proving the result equal")
        trial = _save(graph, decisions, host, draft)
        del graph
        release_freed_memory(collect=True)
        backend, outputs = backend_gate(trial, reference)
        gates.append(backend)
        _require(gates)
        report(f"writing {output}")
        agreement = top1_agreement(outputs, reference.truth)
        return draft.finish(
            network=network or type(module).__name__,
            decisions=decisions,
            warnings=warnings,
            parity=ParityReport(gates, agreement, reference.samples),
            reference=reference.as_arrays(),
            # The spectrum of a running D says nothing of a network that does not read it.
            spectra=None if by_batch else to_arrays(spectra_of(module, recognition)),
            preprocessing=preprocessing,
            labels=labels,
            checkpoint=checkpoint,
            seed=seed,
            command=command,
            origin=None if origin is None else dict(origin),
            target=host.name,
            batch_dependent=by_batch,
        )


def _placement(target: str, whitening: str) -> tuple[Target, Sequence[Pass]]:
    """Who the model is for, and the passes that make it."""
    host = find_target(target)
    if whitening == PLUGIN and not host.takes_plugins:
        raise InputError(
            f"the target {host.name} has standard ops alone, and whitening is to be left to the "
            "plugin",
            "choose another target, or whitening by a 1x1 convolution (--whitening conv)",
        )
    return host, passes_for(whitening)


def _check_statistics(statistics: str) -> None:
    if statistics not in STATISTICS:
        raise InputError(
            f"statistics {statistics!r} are not known", f"choose one of {', '.join(STATISTICS)}"
        )


def _fold(
    graph: gs.Graph,
    passes: Sequence[Pass],
    reference: Reference,
    other_sizes: Sequence[OtherSize],
) -> tuple[list[Decision], list[Gate]]:
    """Fold a graph, cast it, and pass the gates that need no runtime."""
    unfolded = graph.copy()  # of the nodes alone: parameters are shared
    # A weight that overflows is for the gates to find; numpy's warning would not name the layer.
    with np.errstate(over="ignore", invalid="ignore"):
        decisions = run_on_graph(graph, passes)
        gates = [fold_gate(graph, unfolded, reference)]
        _require(gates)
        check_other_sizes(graph, other_sizes)
        narrow(graph)
        release_freed_memory()
        gates.append(storage_gate(graph, reference))
    _require(gates)
    return decisions, gates


def _save(
    graph: gs.Graph, decisions: Sequence[Decision], target: Target, draft: BundleDraft
) -> Path:
    """Write the model from a graph that is used up, and a copy for the runtime to try.

    The copy has bodies for what the target's own plugins compute, so that it runs here.
    """
    model = to_model(graph, decisions)
    release_freed_memory()
    trial = draft.save_to_try(model)
    draft.save(fit(model, target))
    return trial


def _named(example_input: Tensor | Sequence[Tensor]) -> dict[str, Tensor]:
    """The inputs under the names that the exported model gives them."""
    if isinstance(example_input, Tensor):
        return {"input": example_input}
    if len(example_input) == 1:
        return {"input": example_input[0]}
    return {f"input_{index}": x for index, x in enumerate(example_input)}


def _unsettled(reference: Reference) -> list[str]:
    largest = max(float(np.abs(y).max()) for y in reference.truth)
    if largest < _UNSETTLED:
        return []
    return [
        f"outputs reach {largest:.1e}: the running statistics look as if they have not settled; "
        "train for more steps before saving"
    ]


def _require(gates: Sequence[Gate]) -> None:
    for gate in gates:
        if not gate.passed:
            raise ParityError(
                f"the {gate.name} gate failed: error {gate.error:.2e}, budget {gate.budget:.2e} "
                f"({gate.budget_reason}); compared: {gate.compares}",
                _REMEDIES[gate.name],
            )


_REMEDIES = {
    "fold": "this is a fault of nd-deploy; please report it with the network's code",
    "storage": "the network is ill-conditioned in float32; compare more samples "
    "(--samples 32), and see `nd-deploy convert`'s warnings about the checkpoint",
    "backend": "the runtime computes something else than the stored model; try another version "
    "of it, and see `nd-deploy doctor`. Just over budget, in a network of sigmoids that has hardly "
    "been trained, it is the runtime's approximation of them: train it for longer",
}
