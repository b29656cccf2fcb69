"""What a model is put through before it serves: the bundle's own inputs, and every batch size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nd_deploy.bundle.manifest import REMADE
from nd_deploy.errors import BundleError, ParityError
from nd_deploy.parity.measure import backend_budget, worst_error
from nd_deploy.serve.models.buckets import repeated

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nd_deploy.bundle import Bundle
    from nd_deploy.parity.reference import Reference
    from nd_deploy.serve.models.loaded import LoadedModel


def check_golden(model: LoadedModel, reference: Reference, bundle: Bundle) -> None:
    """Hold every instance against PyTorch, on the way that requests go.

    Args:
        model: just loaded.
        reference: of its bundle.
        bundle: whose record of the gates allows no more than its reference does.

    Raises:
        ParityError: the outputs are farther from PyTorch's in float64 than the backend gate of
            'nd-deploy verify' allows, or the reference itself does not say how far that is.
        BundleError: the outputs are called otherwise than the manifest says.
        InputError: the inputs do not fit the model.
        BackendError: the runtime failed.
    """
    budget, reason = backend_budget(reference.torch_error)
    # A reference that was changed would allow what it is wrong by.
    recorded = [gate.budget for gate in bundle.parity.gates if gate.name == "backend"]
    budget = min([budget, *recorded])
    for instance in range(model.instances):
        error = worst_error(_outputs(model, reference, instance), reference.truth)
        if not error <= budget < math.inf:
            raise _failure(bundle, model, f"{error:.1e}, the budget {budget:.1e} ({reason})")


def _failure(bundle: Bundle, model: LoadedModel, error: str) -> ParityError:
    return ParityError(
        f"{bundle.path} on {', '.join(model.spec.providers)} does not give PyTorch's outputs for "
        f"its own reference inputs: the error is {error}",
        f"find out which part differs with 'nd-deploy verify {bundle.path}'; convert the network "
        "again, or serve it on another runtime",
    )


def warm_up(model: LoadedModel, reference: Reference) -> None:
    """Run the batches that are going to be asked for, so that no client waits for a first time.

    Where every batch runs as it is, the smallest and the largest bring in what all need. A model
    whose batch is closed, or whose outputs depend on it, has run in `check_golden`.

    Args:
        model: that passed `check_golden`.
        reference: of its bundle, whose inputs are run.
    """
    if not model.spec.batching:
        return
    for size in model.buckets or sorted({1, model.spec.max_batch}):
        inputs = repeated(reference.inputs, size)
        for instance in range(model.instances):
            model.run(inputs, instance)


def _outputs(model: LoadedModel, reference: Reference, instance: int) -> list[NDArray[Any]]:
    """The model's outputs for the reference inputs, in order, in batches that it takes."""
    import numpy as np

    names = [port.name for port in model.spec.outputs]
    if not model.spec.batching:
        return _in_order(names, model.run(reference.inputs, instance))
    step = model.spec.max_batch
    parts = [
        model.run({n: x[start : start + step] for n, x in reference.inputs.items()}, instance)
        for start in range(0, reference.samples, step)
    ]
    ordered = [_in_order(names, part) for part in parts]
    return [np.concatenate(output) for output in zip(*ordered, strict=True)]


def _in_order(names: Sequence[str], outputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
    if set(names) != outputs.keys():
        raise BundleError(
            f"the model gives {', '.join(outputs)}, and its manifest says {', '.join(names)}",
            REMADE,
        )
    return [outputs[name] for name in names]
