"""Which axes of a network's inputs its model leaves open, and whether the trace kept them so."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from nd_deploy.errors import ExportError

# Names by axis, for one input.
Axes: TypeAlias = dict[int, str]

_SPATIAL = ("height", "width", "depth")


def examples(example_input: Tensor | Sequence[Tensor], dynamic_batch: bool) -> tuple[Tensor, ...]:
    """The inputs to trace with: a batch of one is doubled, since 1 would become a constant."""
    inputs = (example_input,) if isinstance(example_input, Tensor) else tuple(example_input)
    inputs = tuple(x.detach().cpu() for x in inputs)
    if not dynamic_batch or _batch(inputs) != 1:
        return inputs
    return tuple(torch.cat([x, x]) if x.dim() and x.shape[0] == 1 else x for x in inputs)


def open_axes(inputs: Sequence[Tensor], batch: bool, spatial: bool) -> tuple[Axes, ...]:
    """Name the axes that the model leaves open.

    The batch is axis 0 of the first input with several axes, and of each other input that is as
    long there. A spatial axis of size 1 stays closed: it is there to be repeated.

    Args:
        inputs: what is traced with.
        batch: leave the batch open.
        spatial: leave the axes from 2 on open.

    Returns:
        Names by axis for each input. Spatial names differ from input to input: where sizes have to
        be equal, the exporter finds that out, and keeps the first one's name.
    """
    samples = _batch(inputs)
    named = []
    for index, x in enumerate(inputs):
        axes: Axes = {0: "batch"} if batch and x.dim() and x.shape[0] == samples else {}
        if spatial:
            names = [name if index == 0 else f"{name}_{index}" for name in _SPATIAL]
            sizes = zip(range(2, x.dim()), names, strict=False)
            axes |= {axis: name for axis, name in sizes if x.shape[axis] != 1}
        named.append(axes)
    return tuple(named)


def as_bound(network: nn.Module, axes: tuple[Axes, ...]) -> tuple[Axes | tuple[Axes, ...], ...]:
    """The axes as forward() binds its arguments: what goes to *args is a tuple of its own."""
    kinds = [p.kind for p in inspect.signature(network.forward).parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL not in kinds:
        return axes
    named = kinds.index(inspect.Parameter.VAR_POSITIONAL)
    return (*axes[:named], axes[named:]) if len(axes) > named else axes


def require_open(program: Any, axes: Sequence[Axes]) -> None:  # noqa: ANN401 - an ExportedProgram
    """Refuse a trace that holds up to some size only, since forward() branches on the size.

    Args:
        program: the traced network, a torch.export.ExportedProgram.
        axes: that were to stay open.

    Raises:
        ExportError: one of them has a largest size.
    """
    names = set(program.graph_signature.user_inputs)
    inputs = [n.meta["val"] for n in program.graph.nodes if n.name in names]
    for x, named in zip(inputs, axes, strict=True):
        for axis, name in named.items():
            size = x.shape[axis]
            symbol = size.node.expr if isinstance(size, torch.SymInt) else None
            known = program.range_constraints.get(symbol)
            if known is not None and known.upper.is_Integer:
                raise ExportError(
                    f"forward() decides by the {name}: what was traced holds up to {known.upper} "
                    "only",
                    "fix that axis (--static-batch, or leave out --dynamic-spatial), or take the "
                    "branch out of forward()",
                )


def _batch(inputs: Sequence[Tensor]) -> int | None:
    return next((x.shape[0] for x in inputs if x.dim() > 1), None)
