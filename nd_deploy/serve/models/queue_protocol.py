"""What stands between the repository and a model: the queue, and what a queue runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nd_deploy.serve.exchange import InferRequest, InferResponse, ModelSpec


class Model(Protocol):
    """A model that has been loaded, checked and warmed up."""

    @property
    def spec(self) -> ModelSpec:
        """What it is; `batching` says whether requests may be joined, `max_batch` how many."""
        ...

    @property
    def instances(self) -> int:
        """How many sessions it has, each of which one thread at a time may run."""
        ...

    def run(self, inputs: Mapping[str, NDArray[Any]], instance: int) -> dict[str, NDArray[Any]]:
        """Run one batch, in the calling thread.

        Args:
            inputs: every input by name, in the model's dtypes and shapes; where requests are
                joined, (N, ...) with N from 1 to `spec.max_batch`.
            instance: which session, from 0.

        Returns:
            Every output by name; where requests are joined, (N, ...).

        Raises:
            NdDeployError: the runtime failed.
        """
        ...


class Queue(Protocol):
    """The requests of one model, between their arrival and their answers.

    All methods are called in the loop's own thread.
    """

    async def submit(self, request: InferRequest) -> InferResponse:
        """Run a request, joined with others where the model allows.

        Before this first gives way to another task, the request is in the queue, refused or
        answered. So a request whose queue the repository has just looked up is never behind the
        drain of a swap.

        Args:
            request: whose inputs fit `Model.spec`.

        Returns:
            The outputs that are wanted, with the spec of the model that ran.

        Raises:
            Refusal: 429, the queue is full; 503, it is draining or closed; 504, the deadline has
                passed; 500, the runtime failed.
            asyncio.CancelledError: the client has gone; nothing is run for it if it still waits.
        """
        ...

    async def drain(self) -> None:
        """Take nothing more, and wait until nothing of it is left.

        Afterwards every request that was in the queue has its answer, and no thread is in
        `Model.run` any more, not even for a request that was given up at its deadline.
        """
        ...

    def close(self) -> None:
        """Give up threads and whatever else it holds; what still waits is refused with 503.

        The model itself is closed by the repository.
        """
        ...


MakeQueue: TypeAlias = Callable[[Model], Queue]
