"""The engine that is served as a plan, and whether Triton's TensorRT can load it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nd_deploy.bundle import Bundle
from nd_deploy.bundle.manifest import TensorInfo
from nd_deploy.errors import InputError
from nd_deploy.runtime.tensorrt.kept.engine_file import REBUILD, StoredEngine, read_engine
from nd_deploy.runtime.tensorrt.kept.engine_key import EngineKey
from nd_deploy.runtime.tensorrt.profile import Profile, parse_shape

# Its plans are read by that version alone, to the third number.
_NUMBERS = 3
_FIND = "docker run --rm {image} sh -c 'ls /usr/lib/*/libnvinfer.so.*'"


@dataclass(frozen=True)
class Plan:
    """A plan that is of the bundle and that Triton can load.

    Attributes:
        engine: its file.
        key: what it was built from and for.
        profiles: the shapes that it takes; none if all are fixed.
        portable_version: whether it is read by later versions as well, which takes a flag.
    """

    engine: StoredEngine
    key: EngineKey
    profiles: tuple[Profile, ...]
    portable_version: bool

    def largest_batch(self) -> int | None:
        """The largest batch that a profile takes; None if all shapes are fixed."""
        sizes = [shapes.max[0] for each in self.profiles for shapes in each.shapes.values()]
        return max(sizes, default=None)


def read_plan(path: Path, bundle: Bundle, tensorrt: str | None, image: str) -> Plan:
    """Read an engine, and make sure that Triton can serve the bundle by it.

    Args:
        path: of the engine, with its record beside it.
        bundle: that it was built from.
        tensorrt: the version of TensorRT in the image.
        image: of Triton, for the remedies.

    Raises:
        InputError: the engine or its record is missing or damaged, is of another model, library or
            version, or has plugins; or the version in the image is not said.
    """
    engine = read_engine(path)
    key = engine.key
    if key is None:
        raise InputError(f"nothing is recorded of {path}", REBUILD)
    if key.library != "tensorrt":
        raise InputError(
            f"--engine {path} is of {key.library}, and Triton has TensorRT",
            "build it for TensorRT: nd-deploy build --runtime tensorrt",
        )
    if key.plugins:
        raise InputError(
            f"--engine {path} was built with plugin libraries, and only a server that is told to "
            "load them can run it",
            "build it without --plugin",
        )
    portable = "version_compatible" in map(str.lower, key.flags)
    _check_version(path, key.version, tensorrt, image, portable)
    _check_model(path, key, bundle)
    return Plan(engine, key, parse_profiles(key.profiles), portable)


def parse_profiles(text: str) -> tuple[Profile, ...]:
    """Read profiles as `nd_deploy.runtime.tensorrt.profile.canonical` writes them."""
    return tuple(
        Profile(dict(map(parse_shape, profile.split(","))))
        for profile in filter(None, text.split(";"))
    )


def check_batches(plan: Plan, inputs: Sequence[TensorInfo], max_batch: int) -> None:
    """Make sure that some profile takes every batch that Triton may make.

    Args:
        plan: to be served.
        inputs: of the model.
        max_batch: the largest batch; 0 if the shapes hold it.

    Raises:
        InputError: none takes 1 to `max_batch`.
    """
    if not max_batch:
        return
    wanted = set(range(1, max_batch + 1))
    for port in inputs:
        shapes = [
            profile.shapes[port.name] for profile in plan.profiles if port.name in profile.shapes
        ]
        taken = {size for each in shapes for size in range(each.min[0], each.max[0] + 1)}
        if wanted - taken:
            raise InputError(
                f"--engine {plan.engine.plan_path} does not take input '{port.name}' in batches of "
                f"{min(wanted - taken)}, and Triton makes all from 1 to {max_batch}",
                f"build it with --batch 1:{max(1, max_batch // 4)}:{max_batch}, or lower "
                "--max-batch",
            )


def _check_version(
    path: Path, built: str, tensorrt: str | None, image: str, portable: bool
) -> None:
    find = _FIND.format(image=image)
    if tensorrt is None:
        raise InputError(
            f"--engine {path} is of TensorRT {built}, and it is not known which one {image} has",
            f"find it with: {find}\nand pass it as --tensorrt X.Y.Z",
        )
    mine, other = _numbers(built, "engine's record"), _numbers(tensorrt, "--tensorrt")
    later = mine[0] == other[0] and mine <= other
    if mine != other and not (portable and later):
        raise InputError(
            f"--engine {path} is of TensorRT {built}, and the server has {tensorrt}: a plan is "
            "read by the version that built it",
            f"build it with TensorRT {tensorrt}, in a container of the same month as {image}",
        )


def _numbers(version: str, where: str) -> tuple[int, ...]:
    numbers = version.split(".")
    if len(numbers) < _NUMBERS or not all(number.isdecimal() for number in numbers):
        raise InputError(f"{where}: {version} is no version", "write it as 10.14.1")
    return tuple(map(int, numbers[:_NUMBERS]))


def _check_model(path: Path, key: EngineKey, bundle: Bundle) -> None:
    from nd_deploy.runtime.tensorrt.building.typed_model import typed_model
    from nd_deploy.runtime.tensorrt.facts import read_facts

    # An engine of a narrower type was built from a copy that was cast.
    narrow = next((dtype for dtype in ("bfloat16", "float16") if dtype in key.precision), None)
    for precision in (None, narrow):
        with typed_model(bundle.model_path, precision) as model:
            if read_facts(model).sha256 == key.model_sha256:
                return
    raise InputError(
        f"--engine {path} was built from another model than that of {bundle.path}",
        f"name the engine that was built from it, or {REBUILD} {bundle.path}",
    )
