"""The ASGI application: Starlette's routes, in a frame of our own.

A no-op POST of 12 KB over a connection that stays open costs 0.08 to 0.09 ms of CPU (user and
system) with a bare ASGI application on uvicorn, httptools and uvloop, and 0.12 to 0.14 ms with
Starlette's routes, requests and responses. Less than a tenth of a millisecond apart, they leave no
reason to write a router.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException

from nd_deploy.serve.exchange import Service
from nd_deploy.serve.http.answers import refusal_response
from nd_deploy.serve.http.frame import Frame
from nd_deploy.serve.http.handlers import Extras
from nd_deploy.serve.http.observation import Observe, unobserved
from nd_deploy.serve.http.routes import make_routes
from nd_deploy.serve.refusal import FAULT, METHOD_NOT_ALLOWED, Refusal
from nd_deploy.serve.settings import Settings

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp

_NO_EXTRAS = Extras()


def make_app(
    service: Service,
    settings: Settings,
    extras: Extras = _NO_EXTRAS,
    observe: Observe = unobserved,
) -> ASGIApp:
    """The application that answers REST requests.

    A request is cancelled when its client goes away if the server that runs the application cancels
    the request's task then, as `nd_deploy.serve.http.server` does.

    Args:
        service: that runs the models.
        settings: the limits, the token, and whether there is a page.
        extras: what is served besides the protocol.
        observe: told of every answer.
    """
    app = Starlette(
        routes=make_routes(service, settings, extras),
        exception_handlers={
            Refusal: _refused,
            HTTPException: _not_found,
            Exception: _failed,
        },
    )
    app.router.redirect_slashes = False
    return Frame(app, settings.token, extras.for_anyone, observe)


async def _refused(request: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, Refusal)
    return _answer(request, refusal)


async def _not_found(request: Request, error: Exception) -> Response:
    """Of a path that no route has, or not with the request's method."""
    assert isinstance(error, HTTPException)
    message = "there is nothing at this path"
    if error.status_code == METHOD_NOT_ALLOWED:
        message = f"{request.method} is not among the methods of this path"
    refusal = Refusal(error.status_code, "path or method", message)
    return _answer(request, refusal, error.headers)


async def _failed(request: Request, _: Exception) -> Response:
    """Of a fault of this program, whose details are for the log alone."""
    return _answer(request, Refusal(FAULT, "fault", "the server failed; its log says why"))


def _answer(
    request: Request, refusal: Refusal, headers: Mapping[str, str] | None = None
) -> Response:
    request.scope["state"]["refusal"] = refusal
    return refusal_response(refusal, headers)
