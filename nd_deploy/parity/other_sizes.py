"""Whether a model with open axes is the network at other sizes than the example's.

A trace follows one example. Where forward() works out a number from a size, such as the window of
an adaptive pooling, or branches on one, torch.onnx may keep what came of it at the example's size,
and then other sizes come out wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import onnx_graphsurgeon as gs
import torch
from torch import Tensor, nn

from nd_deploy.errors import BackendError, ExportError, InputError
from nd_deploy.memory import release_freed_memory
from nd_deploy.open_axes import Axes, open_axes
from nd_deploy.parity.gates import run_float64
from nd_deploy.parity.measure import worst_error
from nd_deploy.parity.record import float64_outputs
from nd_deploy.parity.reference import Reference

# What torch.onnx rounds of the numbers in a network's code stays below, a wrong trace far beyond.
_SAME = 1e-6

# A new size from the old one and the axis.
_Change = Callable[[int, int], int]


@dataclass(frozen=True)
class OtherSize:
    """What PyTorch computes at another size than the example's.

    Attributes:
        where: the size in words.
        reference: inputs and float64 outputs there.
        remedy: what to do if the model computes something else.
    """

    where: str
    reference: Reference
    remedy: str


@dataclass(frozen=True)
class _Kind:
    """Axes that are changed together.

    Attributes:
        name: what their sizes are called.
        spatial: whether they are those from 2 on; the batch otherwise.
        changes: alternatives, of which the first is used that the network takes.
        remedy: for `OtherSize`.
    """

    name: str
    spatial: bool
    changes: Sequence[Sequence[_Change]]
    remedy: str


_KINDS = (
    _Kind(
        "batch",
        False,
        ((lambda size, _: 1 if size > 1 else 2,), (lambda size, _: 2 * size,)),
        "fix the batch (--static-batch), or make forward() treat every batch alike",
    ),
    _Kind(
        "image size",
        True,
        (
            # Two sizes in succession leave different remainders whatever they are divided by.
            (lambda size, axis: size // 2 + axis - 1, lambda size, axis: size // 2 + axis),
            # Some networks take multiples of 32 alone, some several inputs of fixed proportions.
            (lambda size, axis: size + 32 * (axis - 1),),
            (lambda size, axis: 2 * size,),
        ),
        "leave out --dynamic-spatial and convert for each size; or let the network pool to 1x1 or "
        "resize, where it divides a map into a fixed number of parts",
    ),
)


def record_other_sizes(
    module: nn.Module, inputs: Mapping[str, Tensor], batch: bool, spatial: bool
) -> tuple[list[OtherSize], list[str]]:
    """Run a network in float64 at other sizes that its model is to take.

    Args:
        module: the network; not changed.
        inputs: the example by name, which is cut or repeated to other sizes.
        batch: whether the model leaves the batch open.
        spatial: whether it leaves the image size open.

    Returns:
        What it computes there, and a warning for each kind of size of which it takes none.
    """
    axes = dict(zip(inputs, open_axes(tuple(inputs.values()), batch, spatial), strict=True))
    found: list[OtherSize] = []
    warnings: list[str] = []
    for kind in _KINDS:
        tried: list[str] = []
        taken: list[OtherSize] = []
        for changes in kind.changes:
            for resized in _resizings(inputs, axes, kind, changes):
                tried.append(_in_words(resized, axes, kind))
                try:
                    truth = float64_outputs(module, resized)
                except InputError:
                    continue
                arrays = {name: x.numpy() for name, x in resized.items()}
                taken.append(OtherSize(tried[-1], Reference(arrays, truth, []), kind.remedy))
            if taken:
                break
        if tried and not taken:
            warnings.append(
                f"the model is proven at the example's {kind.name} alone, since the network does "
                f"not take {' or '.join(tried)}"
            )
        found.extend(taken)
    return found, warnings


def check_other_sizes(graph: gs.Graph, sizes: Sequence[OtherSize]) -> None:
    """Hold a graph against the network at other sizes.

    Args:
        graph: of the network, folded or not, before its parameters are rounded.
        sizes: of `record_other_sizes`.

    Raises:
        ExportError: they differ.
    """
    for size in sizes:
        problem = _problem(graph, size.reference)
        if problem is not None:
            raise ExportError(
                "what torch.onnx traced at the example's size is not the network at "
                f"{size.where}: there the model {problem}",
                size.remedy,
            )
    # What was run are copies of the graph, full of cycles, that keep its parameters in float64.
    release_freed_memory(collect=True)


def _problem(graph: gs.Graph, reference: Reference) -> str | None:
    try:
        outputs = run_float64(graph, reference)
    except BackendError as failure:
        return f"does not run: {failure.problem}"
    for output, truth in zip(outputs, reference.truth, strict=True):
        if output.shape != truth.shape:
            return f"gives an output of shape {output.shape} instead of {truth.shape}"
    error = worst_error(outputs, reference.truth)
    return None if error <= _SAME else f"is off by {error:.1e}"


def _resizings(
    inputs: Mapping[str, Tensor],
    axes: Mapping[str, Axes],
    kind: _Kind,
    changes: Sequence[_Change],
) -> Iterator[dict[str, Tensor]]:
    """The inputs after each change; none where no axis of this kind is open."""
    if not any(_axes_of(named, kind) for named in axes.values()):
        return
    for change in changes:
        yield {name: _resized(x, axes[name], kind, change) for name, x in inputs.items()}


def _resized(x: Tensor, axes: Axes, kind: _Kind, change: _Change) -> Tensor:
    # Much code makes a case apart of a single sample, which is not what is asked here.
    x = x.detach().cpu()[[0, -1]] if kind.spatial and 0 in axes else x.detach().cpu()
    for axis in _axes_of(axes, kind):
        size = x.shape[axis]
        x = x.index_select(axis, torch.arange(change(size, axis)) % size)
    return x


def _axes_of(axes: Axes, kind: _Kind) -> list[int]:
    return [axis for axis in axes if (axis > 1) is kind.spatial]


def _in_words(inputs: Mapping[str, Tensor], axes: Mapping[str, Axes], kind: _Kind) -> str:
    if not kind.spatial:
        samples = next(x.shape[0] for name, x in inputs.items() if 0 in axes[name])
        return f"a batch of {samples}"
    sizes = ("x".join(map(str, x.shape[2:])) for name, x in inputs.items() if x.dim() > 2)
    return f"images of {' and '.join(sizes)}"
