"""Works out which shapes an engine is built for, from a model's inputs and what was asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nd_deploy.bundle.manifest import TensorInfo
from nd_deploy.errors import InputError
from nd_deploy.runtime.tensorrt.profile import Profile, Range, Shape

# What an axis without a name is called in `TensorInfo`.
_UNNAMED = "?"


def make_profiles(
    inputs: Sequence[TensorInfo],
    batches: Sequence[Range] = (),
    shapes: Sequence[tuple[str, Range]] = (),
) -> tuple[Profile, ...]:
    """Work out the profiles of a model from what was asked for.

    Args:
        inputs: of the model.
        batches: ranges of the batch, one a profile; one alone holds for every profile.
        shapes: (input, range) with all axes, for inputs with other open axes; per input one a
            profile, or one alone for every profile.

    Returns:
        The profiles; none for a model whose shapes are all fixed.

    Raises:
        InputError: an input is unknown, an open axis has no range, a fixed one has, sizes that have
            to be equal differ, or the numbers of profiles do.
    """
    ports = {port.name: port for port in inputs if not _is_fixed(port)}
    given: dict[str, list[Range]] = {}
    for name, shape in shapes:
        _check_known(name, inputs)
        given.setdefault(name, []).append(shape)
    if not ports:
        _refuse_any(inputs, batches)
        return ()
    batch = _batch_axis(inputs)
    if batches and batch is None:
        _refuse_any(inputs, batches)
    count = max(1, len(batches), *map(len, given.values()))
    for flag, ranges in (("--batch", batches), *((f"--shape {n}", r) for n, r in given.items())):
        if len(ranges) not in (0, 1, count):
            raise InputError(
                f"{flag} is given {len(ranges)} times for {count} profiles",
                "give it once for all profiles, or once for each",
            )
    return tuple(
        _profile(ports, batch, _nth(batches, i), {n: r for n in given if (r := _nth(given[n], i))})
        for i in range(count)
    )


def _profile(
    ports: Mapping[str, TensorInfo],
    batch_name: str | None,
    batch: Range | None,
    given: Mapping[str, Range],
) -> Profile:
    ranges = {}
    known: dict[str, tuple[str, Shape]] = {}
    for name, port in ports.items():
        shapes = given.get(name) or _from_batch(port, batch_name, batch)
        _check_fixed(port, shapes)
        for axis, size in enumerate(port.shape):
            if isinstance(size, int) or size == _UNNAMED:
                continue
            sizes = tuple(shape[axis] for shape in shapes)
            if size == batch_name and batch is not None:
                known.setdefault(size, ("--batch", _flat(batch)))
            first, expected = known.setdefault(size, (f"input '{name}'", sizes))
            if sizes != expected:
                raise InputError(
                    f"axis {axis} of input '{name}' is {size}, which {first} makes "
                    f"{_join(expected)} and --shape {_join(sizes)}",
                    f"give one range of {size}",
                )
        ranges[name] = shapes
    return Profile(ranges)


def _from_batch(port: TensorInfo, batch_name: str | None, batch: Range | None) -> Range:
    """The range of an input of which only the batch is open."""
    others = [
        (axis, size)
        for axis, size in enumerate(port.shape)
        if isinstance(size, str) and not _is_batch(axis, size, batch_name)
    ]
    if others:
        axis, size = others[0]
        named = f" ({size})" if size != _UNNAMED else ""
        raise InputError(
            f"axis {axis}{named} of input '{port.name}' {_show(port)} is open and has no range",
            f"give the shapes to build for: --shape {port.name}={_example(port)}",
        )
    if batch is None:
        raise InputError(
            f"the batch of input '{port.name}' {_show(port)} is open and has no range",
            "give the batches to build for, such as --batch 1:8:32",
        )
    return Range(
        *(
            tuple(size if isinstance(size, int) else number for size in port.shape)
            for (number,) in batch
        )
    )


def _check_fixed(port: TensorInfo, shapes: Range) -> None:
    for shape in shapes:
        if len(shape) != len(port.shape):
            raise InputError(
                f"--shape {port.name}={shapes} has {len(shape)} axes, but the input is "
                f"{_show(port)}",
                f"give all axes: --shape {port.name}={_example(port)}",
            )
        for axis, (size, asked) in enumerate(zip(port.shape, shape, strict=True)):
            if isinstance(size, int) and size != asked:
                raise InputError(
                    f"--shape {port.name}={shapes} has {asked} in axis {axis}, which the model "
                    f"fixes at {size}",
                    f"give {size} there, or convert the network with that axis open",
                )


def _check_known(name: str, inputs: Sequence[TensorInfo]) -> None:
    port = next((port for port in inputs if port.name == name), None)
    if port is None:
        raise InputError(
            f"--shape: the model has no input '{name}'",
            f"its inputs are {', '.join(f'{p.name} {_show(p)}' for p in inputs) or 'none'}",
        )
    if _is_fixed(port):
        raise InputError(
            f"--shape: the shape of input '{name}' is fixed at {_show(port)}",
            "drop it, or convert the network with open axes",
        )


def _refuse_any(inputs: Sequence[TensorInfo], batches: Sequence[Range]) -> None:
    if batches:
        raise InputError(
            "--batch: the model's batch is fixed: "
            f"{', '.join(f'{port.name} {_show(port)}' for port in inputs)}",
            "drop it, or convert the network without --static-batch",
        )


def _batch_axis(inputs: Sequence[TensorInfo]) -> str | None:
    """The name of the first open axis 0."""
    firsts = (port.shape[0] for port in inputs if port.shape)
    return next((size for size in firsts if isinstance(size, str)), None)


def _is_batch(axis: int, size: str, batch_name: str | None) -> bool:
    return size == batch_name and (size != _UNNAMED or axis == 0)


def _is_fixed(port: TensorInfo) -> bool:
    return all(isinstance(size, int) for size in port.shape)


def _nth(ranges: Sequence[Range], index: int) -> Range | None:
    return ranges[min(index, len(ranges) - 1)] if ranges else None


def _example(port: TensorInfo) -> str:
    return "x".join(str(size).upper() for size in port.shape)


def _show(port: TensorInfo) -> str:
    return f"({', '.join(map(str, port.shape))})"


def _flat(batch: Range) -> Shape:
    return tuple(number for (number,) in batch)


def _join(sizes: Shape) -> str:
    return ":".join(map(str, sizes))
