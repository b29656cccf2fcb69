"""A model in memory: its sessions, and how a batch runs in one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nd_deploy.errors import InputError
from nd_deploy.memory import release_freed_memory
from nd_deploy.runtime.feeds import Port, check_feeds
from nd_deploy.serve.models.buckets import filled_up

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nd_deploy.runtime.base import Runner
    from nd_deploy.serve.exchange import ModelSpec


class LoadedModel:
    """A model in as many sessions as there are instances.

    Args:
        spec: what it is.
        digest: the sha256 of its bundle's manifest, which holds those of all other files.
        ports: its inputs.
        runners: the instances.
        buckets: the batches that it runs, ascending, to which others are filled up; none where
            every batch runs as it is.
    """

    def __init__(
        self,
        spec: ModelSpec,
        digest: str,
        ports: Sequence[Port],
        runners: Sequence[Runner],
        buckets: Sequence[int] = (),
    ) -> None:
        self.spec = spec
        self.digest = digest
        self.buckets = tuple(buckets)
        self.instances = len(runners)
        self._ports = tuple(ports)
        self._runners = list(runners)

    def check(self, inputs: Mapping[str, NDArray[Any]]) -> None:
        """Refuse inputs that would not run.

        Args:
            inputs: by name.

        Raises:
            InputError: one is missing, unknown, empty, of another dtype or shape, or of a larger
                batch than is allowed.
        """
        check_feeds(self._ports, inputs)
        for name, array in inputs.items():
            if not array.size:
                raise InputError(f"input '{name}' is empty", "send at least one sample")
            if self.spec.max_batch and len(array) > self.spec.max_batch:
                raise InputError(
                    f"input '{name}' has a batch of {len(array)}, and the largest is "
                    f"{self.spec.max_batch}",
                    "send it in several requests",
                )

    def run(self, inputs: Mapping[str, NDArray[Any]], instance: int) -> dict[str, NDArray[Any]]:
        """Run one batch, in the calling thread; see `Model.run`."""
        runner = self._runners[instance]
        if not self.buckets:
            return runner.run(inputs)
        count = len(next(iter(inputs.values())))
        size = next(bucket for bucket in self.buckets if bucket >= count)
        outputs = runner.run(filled_up(inputs, size) if size > count else inputs)
        return {name: array[:count] for name, array in outputs.items()}

    def close(self) -> None:
        """Give its memory back; nothing may be in `run`."""
        self._runners.clear()
        release_freed_memory()
