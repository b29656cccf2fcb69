"""What answers a request, and what of the server is handed to the routes from elsewhere.

A handler is an endpoint of Starlette. It raises `Refusal` for whatever it does not answer, reads
the body by `nd_deploy.serve.http.body.read_body` alone, and finds the model's name, if its route
has one, as `request.path_params["model"]`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    Handler: TypeAlias = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class Extras:
    """Handlers that do not belong to the Open Inference Protocol.

    Attributes:
        metrics: of GET /metrics; None for no such route.
        classify: of POST /v1/models/{model}/classify; None for no such route.
        page: of GET requests by their paths, such as "/" and "/page.css".
        for_anyone: paths of which clients need no token, such as those of files that a browser
            loads before it can be asked for one.
    """

    metrics: Handler | None = None
    classify: Handler | None = None
    page: Mapping[str, Handler] = field(default_factory=dict)
    for_anyone: frozenset[str] = frozenset()
