"""The service whose every request is counted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nd_deploy.serve.batching.observer import CANCELLED
from nd_deploy.serve.exchange import InferRequest, InferResponse, ModelSpec, ModelState
from nd_deploy.serve.metrics.exposition import Account
from nd_deploy.serve.metrics.statistics import statistics_of
from nd_deploy.serve.metrics.tally import Tally
from nd_deploy.serve.refusal import NOT_FOUND, Refusal

if TYPE_CHECKING:
    from nd_deploy.serve.models.repository import ModelRepository


class CountedService:
    """A repository as `nd_deploy.serve.exchange.Service`, with an account of each model.

    Args:
        repository: that answers.
        tallies: the account of each of its models, by name.
    """

    def __init__(self, repository: ModelRepository, tallies: Mapping[str, Tally]) -> None:
        self._repository = repository
        self._tallies = tallies

    def spec(self, model: str, version: str | None = None) -> ModelSpec:
        """See `Service.spec`."""
        return self._repository.spec(model, version)

    def models(self) -> Sequence[ModelState]:
        """See `Service.models`."""
        return self._repository.models()

    @property
    def ready(self) -> bool:
        """See `Service.ready`."""
        return self._repository.ready

    async def infer(self, request: InferRequest) -> InferResponse:
        """See `Service.infer`."""
        tally = self._tallies.get(request.model)
        begun = time.perf_counter()
        try:
            response = await self._repository.infer(request)
        except (Refusal, asyncio.CancelledError) as ending:
            if tally is not None:
                reason = ending.reason if isinstance(ending, Refusal) else CANCELLED
                tally.fail(reason, time.perf_counter() - begun)
            raise
        if tally is not None:
            tally.succeed(time.perf_counter() - begun)
        return response

    def statistics(self, model: str | None = None) -> Sequence[Mapping[str, Any]]:
        """See `Service.statistics`."""
        states = [state for state in self.models() if model in (None, state.name)]
        if not states:
            raise Refusal(NOT_FOUND, "no such model", f"there is no model '{model}'")
        return [
            statistics_of(state.name, state.version, self._tallies[state.name]) for state in states
        ]

    def accounts(self) -> list[Account]:
        """What metrics tell of each model."""
        return [self._account(state) for state in self.models()]

    def _account(self, state: ModelState) -> Account:
        ready = state.state == "READY"
        reloads = self._repository.reloads[state.name]
        return Account(
            state.name,
            state.version,
            self._tallies[state.name],
            reloads.done,
            reloads.failed,
            self._repository.spec(state.name).providers if ready else (),
            ready,
        )
