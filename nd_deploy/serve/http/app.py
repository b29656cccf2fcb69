"""The ASGI application: Starlette's router, in a frame of our own.

Starlette's application would add two layers around the router, and its requests and responses a few
objects to each answer: 0.05 ms of CPU a request, as much as all that reads the request. So the
frame does what those layers do, and the route that is asked most (`nd_deploy.serve.http.inference`)
does without the objects.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from starlette.routing import Router

from nd_deploy.serve.exchange import Service
from nd_deploy.serve.http.frame import Frame
from nd_deploy.serve.http.handlers import Extras
from nd_deploy.serve.http.inference import Inference
from nd_deploy.serve.http.observation import Observe, unobserved
from nd_deploy.serve.http.routes import make_routes
from nd_deploy.serve.settings import Settings

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_NO_EXTRAS = Extras()
# The two paths of inference, with what Starlette takes for a parameter of a path.
_INFER = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?/infer")


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
    router = Router(make_routes(service, settings, extras), redirect_slashes=False)
    shortcut = _Shortcut(Inference(service, settings), router)
    return Frame(shortcut, settings.token, extras.for_anyone, observe)


class _Shortcut:
    """Takes what most requests are for past the router."""

    def __init__(self, inference: Inference, router: ASGIApp) -> None:
        self._inference = inference
        self._router = router

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = None
        # Behind a proxy such as Ray's the path has a part that only the router knows to leave out.
        if scope["type"] == "http" and scope["method"] == "POST" and not scope.get("root_path"):
            asked = _INFER.fullmatch(scope["path"])
        if asked is None:
            await self._router(scope, receive, send)
        else:
            await self._inference.answer(asked[1], asked[2], scope, receive, send)
