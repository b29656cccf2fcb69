"""What a model's inputs and outputs are called.

An output is called after where it stands in what forward() returns: after its key in a dict, its
field in a named tuple, its place in a sequence.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import Enum
from typing import Any, TypeAlias

from torch.export.graph_signature import OutputKind, TensorArgument
from torch.utils import _pytree as pytree

from nd_deploy.passes.graph import free_name

# Keys and fields as strings, places as numbers, outermost first; nothing for a plain tensor.
Path: TypeAlias = tuple[str | int, ...]


def input_names(count: int) -> list[str]:
    """One input is "input", several are "input_0" and on."""
    return ["input"] if count == 1 else [f"input_{index}" for index in range(count)]


def output_paths(program: Any) -> list[Path]:  # noqa: ANN401 - a torch.export.ExportedProgram
    """Where in what forward() returns each of the model's outputs stands.

    Args:
        program: the traced network.

    Returns:
        One path a tensor, in the model's order. A None among them is no output.
    """
    structure = program.call_spec.out_spec
    leaves = list(range(structure.num_leaves))
    places, _ = pytree.tree_flatten_with_path(pytree.tree_unflatten(leaves, structure))
    specs = program.graph_signature.output_specs
    returned = [spec.arg for spec in specs if spec.kind == OutputKind.USER_OUTPUT]
    return [
        tuple(_step(key) for key in keys)
        for (keys, _), value in zip(places, returned, strict=True)
        if isinstance(value, TensorArgument)
    ]


def output_names(paths: Sequence[Path], taken: Collection[str]) -> list[str]:
    """Names for a model's outputs.

    One tensor is "output", those of a tuple are "output_0" and on, those of a dict have their keys
    for names; what is nested has the names of all levels, joined by a dot.

    Args:
        paths: where the outputs stand.
        taken: names of the model's inputs.

    Returns:
        One name a path, no two of them the same.
    """
    wanted = [_joined(path, alone=len(paths) == 1) for path in paths]
    names: list[str] = []
    for name in wanted:
        clash = name in taken or name in names
        names.append(free_name({*taken, *wanted, *names}, name) if clash else name)
    return names


def _step(key: Any) -> str | int:  # noqa: ANN401 - a key of torch's pytrees
    if isinstance(key, pytree.SequenceKey):
        return key.idx
    named = key.name if isinstance(key, pytree.GetAttrKey) else key.key
    if isinstance(named, int):
        return int(named)
    if isinstance(named, Enum) and not isinstance(named, str):
        return named.name
    # What else may be a key has no text that is the same on every run.
    return str.__str__(named) if isinstance(named, str) else ""


def _joined(path: Path, alone: bool) -> str:
    if alone and all(isinstance(step, int) for step in path):
        return "output"
    first, *rest = (step if isinstance(step, int) else _printable(step) for step in path)
    return ".".join([f"output_{first}" if isinstance(first, int) else first, *map(str, rest)])


def _printable(key: str) -> str:
    """A key without what a terminal would act on, or a model file could not hold."""
    text = "".join(c if c.isprintable() and not c.isspace() else "_" for c in key)
    return text or "output"
