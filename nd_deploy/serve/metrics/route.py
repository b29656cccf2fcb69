"""The endpoint that Prometheus asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nd_deploy.serve.metrics.exposition import Collector, registry_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from nd_deploy.serve.http.handlers import Handler


def metrics_handler(collector: Collector) -> Handler:
    """The handler of GET /metrics, in the text format or as OpenMetrics, as the client likes.

    Raises:
        MissingDependencyError: prometheus_client is not installed.
    """
    from nd_deploy import compat

    compat.require("prometheus_client", "serve")
    from prometheus_client.exposition import choose_encoder
    from starlette.responses import Response

    registry = registry_of(collector)

    async def handle(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), media_type=content_type)

    return handle
