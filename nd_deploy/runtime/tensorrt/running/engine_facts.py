"""What a loaded engine says about itself: its inputs, its outputs and the shapes it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from nd_deploy.compat import trt as compat
from nd_deploy.compat.trt import TensorRT
from nd_deploy.errors import BackendError
from nd_deploy.runtime.feeds import Port
from nd_deploy.runtime.tensorrt.profile import Range

_DTYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "BF16": "bfloat16",
    "INT8": "int8",
    "UINT8": "uint8",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
}


@dataclass(frozen=True)
class TensorFacts:
    """An input or an output of an engine.

    Attributes:
        name: its name.
        is_input: or else an output.
        dtype: numpy's name of its dtype.
        shape: a number for each fixed axis, None for each open one.
        ranges: of an input, the shapes that it takes in each profile.
    """

    name: str
    is_input: bool
    dtype: str
    shape: tuple[int | None, ...]
    ranges: tuple[Range, ...]

    @property
    def port(self) -> Port:
        """The input, to compare arrays with."""
        return Port(self.name, self.dtype, self.shape)


@dataclass(frozen=True)
class EngineFacts:
    """An engine.

    Attributes:
        name: what its network was called.
        tensors: its inputs and outputs.
        profiles: how many optimisation profiles it has.
        layers: how many layers it has.
        device_memory: bytes of device memory that running it takes, besides its weights, its
            inputs and its outputs.
    """

    name: str
    tensors: tuple[TensorFacts, ...]
    profiles: int
    layers: int
    device_memory: int

    @property
    def inputs(self) -> tuple[TensorFacts, ...]:
        """What it reads."""
        return tuple(tensor for tensor in self.tensors if tensor.is_input)

    @property
    def outputs(self) -> tuple[TensorFacts, ...]:
        """What it gives."""
        return tuple(tensor for tensor in self.tensors if not tensor.is_input)

    def as_dict(self) -> dict[str, Any]:
        """The facts as JSON-ready fields."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> EngineFacts:
        """The inverse of `as_dict`, also after JSON has made lists of tuples."""
        return cls(**{**fields, "tensors": tuple(map(_tensor_from_dict, fields["tensors"]))})


def read_engine_facts(trt: TensorRT, engine: Any) -> EngineFacts:  # noqa: ANN401
    """Ask a loaded engine.

    Args:
        trt: the module.
        engine: an ICudaEngine.

    Returns:
        What it says.

    Raises:
        BackendError: it has an input or an output that a runner cannot fill or read.
    """
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    return EngineFacts(
        name=str(engine.name),
        tensors=tuple(_read_tensor(trt, engine, name) for name in names),
        profiles=int(engine.num_optimization_profiles),
        layers=int(engine.num_layers),
        device_memory=compat.device_memory_size(engine),
    )


def _read_tensor(trt: TensorRT, engine: Any, name: str) -> TensorFacts:  # noqa: ANN401
    is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
    if engine.get_tensor_location(name) != trt.TensorLocation.DEVICE:
        raise BackendError(
            f"the engine's tensor '{name}' lies in host memory, because shapes depend on it",
            "convert the network without sizes that are computed from an input's values",
        )
    if engine.get_tensor_format(name) != trt.TensorFormat.LINEAR:
        described = engine.get_tensor_format_desc(name)
        raise BackendError(
            f"the engine's tensor '{name}' is not laid out as an array: {described}",
            "build the engine without special formats of inputs and outputs",
        )
    dtype = engine.get_tensor_dtype(name).name
    if dtype not in _DTYPES:
        raise BackendError(
            f"the engine's tensor '{name}' has the type {dtype}, which arrays cannot have",
            "build the engine from a model whose inputs and outputs are of another type",
        )
    shape = tuple(None if size < 0 else int(size) for size in engine.get_tensor_shape(name))
    profiles = range(engine.num_optimization_profiles) if is_input else ()
    ranges = tuple(_read_range(engine, name, index) for index in profiles)
    return TensorFacts(name, is_input, _DTYPES[dtype], shape, ranges)


def _read_range(engine: Any, name: str, profile: int) -> Range:  # noqa: ANN401
    return Range(*(_sizes(shape) for shape in engine.get_tensor_profile_shape(name, profile)))


def _sizes(shape: Any) -> tuple[int, ...]:  # noqa: ANN401 - a Dims, or a list
    return tuple(map(int, shape))


def _tensor_from_dict(fields: Mapping[str, Any]) -> TensorFacts:
    ranges = tuple(Range(*map(_sizes, shapes)) for shapes in fields["ranges"])
    return TensorFacts(**{**fields, "shape": tuple(fields["shape"]), "ranges": ranges})
