"""The paths of the Open Inference Protocol's REST, and of Triton's extensions to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from starlette.routing import Route

import nd_deploy
from nd_deploy.serve.exchange import Service
from nd_deploy.serve.http.answers import json_response
from nd_deploy.serve.http.body import read_body
from nd_deploy.serve.http.handlers import Extras
from nd_deploy.serve.http.inference import Inference
from nd_deploy.serve.protocol import metadata
from nd_deploy.serve.protocol.configuration import model_config
from nd_deploy.serve.refusal import NOT_READY
from nd_deploy.serve.settings import Settings

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    # From a model and its version, if the path has one, to what is said of it.
    Describe: TypeAlias = Callable[[Any, str | None], object]

_MODEL = "/v2/models/{model}"
_VERSION = "/v2/models/{model}/versions/{version}"
# Bytes of a request that holds an option or two.
_SHORT = 2**16


def make_routes(service: Service, settings: Settings, extras: Extras) -> list[Route]:
    """All paths that there are, but for those of `inference_routes`.

    Args:
        service: that answers.
        settings: the limits.
        extras: what else is served.
    """
    protocol = _Protocol(service, settings)
    return [
        *_of_models(protocol),
        *_of_server(protocol),
        *_of_extras(extras, settings),
    ]


def inference_routes(service: Service, settings: Settings) -> list[Route]:
    """The paths that run a model.

    Args:
        service: that answers.
        settings: the limits.
    """
    infer = Inference(service, settings)
    return [Route(f"{path}/infer", infer, methods=["POST"]) for path in _BOTH]


def _of_models(protocol: _Protocol) -> list[Route]:
    # A model of that name would be found under its version alone.
    routes = [Route("/v2/models/stats", protocol.describe(protocol.statistics))]
    described = {
        "": protocol.metadata,
        "/ready": protocol.model_ready,
        "/config": protocol.config,
        "/stats": protocol.statistics,
    }
    for path in _BOTH:
        for suffix, describe in described.items():
            routes.append(Route(path + suffix, protocol.describe(describe)))
    return routes


_BOTH = (_MODEL, _VERSION)


def _of_server(protocol: _Protocol) -> list[Route]:
    return [
        Route("/v2", protocol.server),
        Route("/v2/health/live", protocol.live),
        Route("/v2/health/ready", protocol.ready),
        Route("/v2/repository/index", protocol.index, methods=["POST"]),
    ]


def _of_extras(extras: Extras, settings: Settings) -> list[Route]:
    routes = []
    if extras.metrics is not None:
        routes.append(Route("/metrics", extras.metrics))
    if extras.classify is not None:
        routes.append(Route("/v1/models/{model}/classify", extras.classify, methods=["POST"]))
    if settings.page:
        routes += [Route(path, handler) for path, handler in extras.page.items()]
    return routes


class _Protocol:
    """The protocol's endpoints.

    The source of each is the section of its name in the Open Inference Protocol's REST, or in the
    document of the Triton extension.
    """

    def __init__(self, service: Service, settings: Settings) -> None:
        self._service = service
        self._settings = settings

    def describe(self, describe: Describe) -> Callable[[Request], Any]:
        """The endpoint that says something of a model."""

        async def endpoint(request: Request) -> Response:
            path = request.path_params
            return json_response(describe(path.get("model"), path.get("version")))

        return endpoint

    def metadata(self, model: str, version: str | None) -> object:
        return metadata.model_metadata(self._service.spec(model, version))

    def model_ready(self, model: str, version: str | None) -> object:
        return metadata.model_ready(self._service.spec(model, version))

    def config(self, model: str, version: str | None) -> object:
        return model_config(self._service.spec(model, version), self._settings)

    def statistics(self, model: str | None, version: str | None) -> object:
        if model is not None:
            self._service.spec(model, version)
        return {"model_stats": list(self._service.statistics(model))}

    async def server(self, _: Request) -> Response:
        return json_response(metadata.server_metadata(nd_deploy.__version__))

    async def live(self, _: Request) -> Response:
        return json_response(metadata.live())

    async def ready(self, _: Request) -> Response:
        ready = self._service.ready
        return json_response(metadata.server_ready(ready), 200 if ready else NOT_READY)

    async def index(self, request: Request) -> Response:
        only_ready = metadata.index_only_ready(await read_body(request, _SHORT))
        return json_response(metadata.repository_index(self._service.models(), only_ready))
