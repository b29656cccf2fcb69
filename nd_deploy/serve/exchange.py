"""What the parts of the server hand each other, whatever a client speaks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nd_deploy.preprocess import Preprocessing


@dataclass(frozen=True)
class TensorSpec:
    """An input or output of a model, as the Open Inference Protocol describes it.

    Attributes:
        name: of the tensor.
        datatype: of the protocol, such as "FP32" or "INT64".
        shape: -1 for an open size; the batch is its first.
        label_count: how many labels its classes have; 0 for none.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    label_count: int = 0


@dataclass(frozen=True)
class ModelSpec:
    """A model as clients see it.

    Attributes:
        name: under which it is served.
        version: of what is served now, such as "1".
        inputs: in order.
        outputs: in order.
        max_batch: the largest batch of a request; 0 if the model's batch is fixed by its shape.
        batching: whether requests may be joined: the batch is open, and no output depends on what
            else is in it.
        labels: the classes' names, by output; empty where not known.
        preprocessing: how an image becomes the input; None where not known.
        platform: as Triton has it, such as "onnxruntime_onnx".
        backend: as Triton has it, such as "onnxruntime".
        providers: ONNX Runtime's execution providers that it runs on.
    """

    name: str
    version: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    max_batch: int
    batching: bool
    labels: tuple[str, ...] = ()
    preprocessing: Preprocessing | None = None
    platform: str = "onnxruntime_onnx"
    backend: str = "onnxruntime"
    providers: tuple[str, ...] = ()


# What is made for every request is a tuple, which is made in half the time of a frozen dataclass.
class OutputWanted(NamedTuple):
    """An output that a client asks for.

    Attributes:
        name: of the output.
        binary: whether it is to follow the JSON as bytes.
        classes: how many of the largest entries to give as "value:index:label"; 0 for the tensor.
    """

    name: str
    binary: bool = False
    classes: int = 0


class InferRequest(NamedTuple):
    """A request that has been read and found to fit its model.

    Attributes:
        model: its name.
        version: that was asked for; None for whatever is served.
        id: of the client's, to be given back; None if there was none.
        inputs: every input by name, in the model's dtypes and shapes.
        outputs: that are wanted, in order; empty for all.
        timeout: seconds that the client waits at most; None for the server's own limit.
        fits: the description that the inputs have been found to fit; None if they have not been
            looked at. It may not be what is served by now.
    """

    model: str
    version: str | None
    id: str | None
    inputs: Mapping[str, NDArray[Any]]
    outputs: tuple[OutputWanted, ...] = ()
    timeout: float | None = None
    fits: ModelSpec | None = None


class InferResponse(NamedTuple):
    """What a model gave.

    Attributes:
        spec: of the model that ran, which a reload may have changed since the request was read.
        id: of the request.
        outputs: those wanted, by name, in order.
    """

    spec: ModelSpec
    id: str | None
    outputs: Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class ModelState:
    """A model of the repository.

    Attributes:
        name: of the model.
        version: that is or was served.
        state: "READY", "LOADING" or "UNAVAILABLE".
        reason: why it is not ready.
    """

    name: str
    version: str
    state: str
    reason: str = ""


class Service(Protocol):
    """What answers requests, for REST, gRPC, images and Ray alike."""

    def spec(self, model: str, version: str | None = None) -> ModelSpec:
        """A model's description.

        Raises:
            Refusal: 404, there is no such model or version; 503, it is not ready.
        """
        ...

    def models(self) -> Sequence[ModelState]:
        """Every model, in order of their names."""
        ...

    @property
    def ready(self) -> bool:
        """Whether all models are loaded, checked and warm, and the server is not ending."""
        ...

    async def infer(self, request: InferRequest) -> InferResponse:
        """Run a model.

        Raises:
            Refusal: 404 or 503 as of `spec`; 400, the inputs do not fit; 429, the queue is full;
                504, the deadline passed; 500, the runtime failed.
            asyncio.CancelledError: the client has gone; nothing is run for it if it still waits.
        """
        ...

    def statistics(self, model: str | None = None) -> Sequence[Mapping[str, Any]]:
        """Counts and durations by model, as Triton's statistics extension has them.

        Raises:
            Refusal: 404, there is no such model.
        """
        ...
