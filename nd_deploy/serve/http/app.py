"""The ASGI application: Starlette's router, in a frame of our own.

Starlette's application would add two layers around the router, and its requests and responses a few
objects to each answer: 0.05 ms of CPU a request, as much as all that reads the request. So the
frame does what those layers do, and the route that is asked most (`nd_deploy.serve.http.inference`)
does without the objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from starlette.routing import Route, Router

from nd_deploy.serve.exchange import Service
from nd_deploy.serve.http.frame import Frame
from nd_deploy.serve.http.handlers import Extras
from nd_deploy.serve.http.observation import Observe, unobserved
from nd_deploy.serve.http.routes import inference_routes, make_routes
from nd_deploy.serve.settings import Settings

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

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
    inference = inference_routes(service, settings)
    others = make_routes(service, settings, extras)
    router = Router([*inference, *others], redirect_slashes=False)
    return Frame(_Shortcut(inference, router), settings.token, extras.for_anyone, observe)


class _Shortcut:
    """Takes what most requests are for past the router, which makes more of a path.

    Args:
        routes: of POST requests, which the router has as well.
        router: for all others.
    """

    def __init__(self, routes: Sequence[Route], router: ASGIApp) -> None:
        self._routes = routes
        self._router = router

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Behind a proxy such as Ray's the path has a part that only the router knows to leave out.
        if scope["type"] == "http" and scope["method"] == "POST" and not scope.get("root_path"):
            for route in self._routes:
                found = route.path_regex.match(scope["path"])
                if found is not None:
                    scope["path_params"] = found.groupdict()
                    await route.app(scope, receive, send)
                    return
        await self._router(scope, receive, send)
