"""What the server says of itself and its models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from google.protobuf import json_format  # type: ignore[import-untyped]
from google.protobuf.message import Message  # type: ignore[import-untyped]

from nd_deploy import __version__
from nd_deploy.serve.exchange import ModelSpec, Service
from nd_deploy.serve.protocol import metadata
from nd_deploy.serve.protocol.configuration import model_config
from nd_deploy.serve.protocol.errors import bad_request
from nd_deploy.serve.refusal import NOT_FOUND, NOT_READY, Refusal
from nd_deploy.serve.rpc.messages import INFERENCE
from nd_deploy.serve.settings import Settings

if TYPE_CHECKING:
    from nd_deploy.serve.rpc.entry import Context


class Information:
    """The methods that run nothing, each named as the protocol has it.

    Their answers are the JSON objects of REST, whose members have the fields' names.

    Args:
        service: that is asked.
        settings: of the server.
    """

    def __init__(self, service: Service, settings: Settings) -> None:
        self._service = service
        self._settings = settings

    async def server_live(self, request: Message, context: Context) -> Message:
        """Answer ServerLive: always, or there is no answer."""
        return _message("ServerLiveResponse", metadata.live())

    async def server_ready(self, request: Message, context: Context) -> Message:
        """Answer ServerReady."""
        return _message("ServerReadyResponse", metadata.server_ready(self._service.ready))

    async def server_metadata(self, request: Message, context: Context) -> Message:
        """Answer ServerMetadata."""
        return _message("ServerMetadataResponse", metadata.server_metadata(__version__))

    async def model_ready(self, request: Message, context: Context) -> Message:
        """Answer ModelReady: no for a model that there is not, too, as Triton does.

        Clients poll this until a model is there.
        """
        try:
            self._spec(request)
        except Refusal as refusal:
            if refusal.status not in (NOT_FOUND, NOT_READY):
                raise
            return INFERENCE["ModelReadyResponse"](ready=False)
        return INFERENCE["ModelReadyResponse"](ready=True)

    async def model_metadata(self, request: Message, context: Context) -> Message:
        """Answer ModelMetadata.

        Raises:
            Refusal: as of `Service.spec`.
        """
        return _message("ModelMetadataResponse", metadata.model_metadata(self._spec(request)))

    async def model_config(self, request: Message, context: Context) -> Message:
        """Answer ModelConfig, of Triton's model configuration extension.

        Raises:
            Refusal: as of `Service.spec`.
        """
        config = model_config(self._spec(request), self._settings)
        return _message("ModelConfigResponse", {"config": config})

    async def model_statistics(self, request: Message, context: Context) -> Message:
        """Answer ModelStatistics, of Triton's statistics extension; no name stands for all models.

        Raises:
            Refusal: as of `Service.spec`.
        """
        if request.name:
            self._spec(request)
        statistics = self._service.statistics(request.name or None)
        return _message("ModelStatisticsResponse", {"model_stats": statistics})

    async def repository_index(self, request: Message, context: Context) -> Message:
        """Answer RepositoryIndex, of Triton's model repository extension.

        Raises:
            Refusal: 400, one of several repositories is asked for.
        """
        if request.repository_name:
            raise bad_request("there is one model repository, and it has no name")
        models = metadata.repository_index(self._service.models(), only_ready=request.ready)
        return _message("RepositoryIndexResponse", {"models": models})

    def _spec(self, request: Message) -> ModelSpec:
        return self._service.spec(request.name, request.version or None)


def _message(name: str, fields: Mapping[str, Any]) -> Message:
    return json_format.ParseDict(fields, INFERENCE[name]())
