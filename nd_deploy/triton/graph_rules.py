"""Whether a configuration is that of its ONNX model, and whether a release reads the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from nd_deploy.nd.ops import DOMAIN
from nd_deploy.serve.protocol.datatypes import config_type, datatype_of
from nd_deploy.triton.accelerators import PROFILE_KEYS, TENSORRT
from nd_deploy.triton.pbtxt import Message, many, one
from nd_deploy.triton.releases import Release
from nd_deploy.triton.rules import Problem, pairs

if TYPE_CHECKING:
    import onnx

    from nd_deploy.bundle.manifest import TensorInfo


def model_problems(config: Message, path: Path, release: Release) -> Iterator[Problem]:
    """What is wrong with an ONNX model in a repository, or with its configuration.

    Args:
        config: as `pbtxt.loads` gives it.
        path: of the model.
        release: of Triton that is to read it.
    """
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    from nd_deploy.bundle import onnx_file

    try:
        model = onnx.load(path, load_external_data=False)
    except (DecodeError, ValueError, OSError) as error:
        yield Problem(f"{path.name} is no ONNX model", str(error))
        return
    yield from _readable(model, release)
    for name in sorted(onnx_file.references(model)):
        if Path(name).name != name or not (path.parent / name).is_file():
            yield Problem(
                f"{path.name} keeps weights in {name}", "there is no such file beside the model"
            )
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = onnx_file.tensors(port for port in model.graph.input if port.name not in weights)
    batched = one(config, "max_batch_size", 0) > 0
    yield from _ports(config, "input", {port.name: port for port in inputs}, batched)
    outputs = onnx_file.tensors(model.graph.output)
    yield from _ports(config, "output", {port.name: port for port in outputs}, batched)
    yield from _profiles(config, inputs)


def _readable(model: onnx.ModelProto, release: Release) -> Iterator[Problem]:
    reader = f"Triton {release.name} has ONNX Runtime {release.onnxruntime}"
    if model.ir_version > release.ir_version:
        yield Problem(
            f"the model is of ONNX's IR version {model.ir_version}",
            f"{reader}, which reads up to {release.ir_version}",
        )
    for imported in model.opset_import:
        if imported.domain in ("", "ai.onnx") and imported.version > release.opset:
            yield Problem(
                f"the model is of opset {imported.version}",
                f"{reader}, which reads up to {release.opset}",
            )
    bodies = {(function.domain, function.name) for function in model.functions}
    for node in model.graph.node:
        if node.domain == DOMAIN and (node.domain, node.op_type) not in bodies:
            yield Problem(
                f"node '{node.name}' is a {node.op_type} without a function body",
                "ONNX Runtime runs an ND layer by its body",
            )


def _ports(
    config: Message, kind: str, ports: Mapping[str, TensorInfo], batched: bool
) -> Iterator[Problem]:
    described = {one(port, "name", ""): port for port in many(config, kind, dict)}
    for name in sorted(set(described) ^ set(ports)):
        where = "model" if name in described else "configuration"
        yield Problem(f"{kind} '{name}' is not in the {where}", "each has to be in both")
    for name in sorted(set(described) & set(ports)):
        port, shape = described[name], ports[name].shape
        datatype, dims = one(port, "data_type", ""), _dims(port)
        if datatype != config_type(datatype_of(ports[name].dtype)):
            yield Problem(
                f"{kind} '{name}' is {datatype}", f"in the model it is {ports[name].dtype}"
            )
        expected = [size if isinstance(size, int) else -1 for size in shape]
        if batched and (not shape or isinstance(shape[0], int)):
            yield Problem(
                f"{kind} '{name}' is {list(shape)} in the model, and max_batch_size is set",
                "its first axis is no open batch",
            )
        elif dims != expected[batched:]:
            yield Problem(
                f"{kind} '{name}' has dims {dims}",
                f"in the model it is {list(shape)}"
                + (", of which Triton adds the first" if batched else ""),
            )


def _dims(port: Message) -> list[int]:
    """The axes that the model sees."""
    reshapes = many(port, "reshape", dict)
    return many(reshapes[-1], "shape", int) if reshapes else many(port, "dims", int)


def _profiles(config: Message, inputs: tuple[TensorInfo, ...]) -> Iterator[Problem]:
    """Explicit shapes have to cover every input with an open axis, and every batch."""
    nothing: Message = {}
    execution = one(one(config, "optimization", nothing), "execution_accelerators", nothing)
    options = next(
        (
            pairs(accelerator, "parameters")
            for accelerator in many(execution, "gpu_execution_accelerator", dict)
            if one(accelerator, "name", "") == TENSORRT
        ),
        {},
    )
    given = [_shapes(options.get(key, "")) for key in PROFILE_KEYS]
    if not any(given):
        return
    largest = one(config, "max_batch_size", 0)
    for port in inputs:
        if all(isinstance(size, int) for size in port.shape):
            continue
        if not all(port.name in shapes for shapes in given):
            yield Problem(
                f"{' and '.join(PROFILE_KEYS)} do not all have input '{port.name}'",
                "explicit profiles have to have every input with an open axis",
            )
            continue
        smallest, _, highest = (shapes[port.name] for shapes in given)
        if largest and not (smallest[0] <= 1 and highest[0] >= largest):
            yield Problem(
                f"the profile of input '{port.name}' takes batches of {smallest[0]} to "
                f"{highest[0]}",
                f"Triton makes all from 1 to {largest}",
            )


def _shapes(text: object) -> dict[str, list[int]]:
    """Read "a:1x3x8x8,b:1x4", leaving out what is of no such form."""
    found = {}
    for item in str(text).split(","):
        name, colon, sizes = item.rpartition(":")
        numbers = sizes.split("x")
        if colon and all(number.isdecimal() for number in numbers):
            found[name] = list(map(int, numbers))
    return found
