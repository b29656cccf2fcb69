"""What is done around every route: request ids, the token, faults, and clients that go away."""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from nd_deploy.serve.http.answers import refusal_response
from nd_deploy.serve.http.observation import Answered, Observe
from nd_deploy.serve.http.request_id import current, request_id
from nd_deploy.serve.refusal import (
    FAULT,
    METHOD_NOT_ALLOWED,
    NOT_READY,
    UNAUTHORIZED,
    Refusal,
)

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)

# Whoever starts and stops servers asks these, and holds no token.
_HEALTH = frozenset({"/v2/health/live", "/v2/health/ready"})
_SCHEME = b"bearer "


class Frame:
    """An ASGI application around another.

    Args:
        app: that answers, or raises `Refusal`, or what Starlette's router raises where no route is.
        token: that clients have to show; None for none.
        for_anyone: paths that need no token, besides those of health.
        observe: told of every answer.
    """

    def __init__(
        self, app: ASGIApp, token: str | None, for_anyone: frozenset[str], observe: Observe
    ) -> None:
        self._app = app
        self._for_anyone = _HEALTH | for_anyone
        self._token = None if token is None else token.encode()
        self._observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request.

        Raises:
            asyncio.CancelledError: it was cancelled; a client that is still there has been told.
        """
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(scope, receive, send)
        # With an application here, Starlette's routes raise what they would answer in plain text.
        scope["app"] = self
        try:
            if self._token is not None:
                self._check_token(self._token, scope["path"], answer.headers)
            await self._app(scope, receive, answer.send)
        except Refusal as refusal:
            await answer.refuse(refusal)
        except HTTPException as error:
            await answer.refuse(_no_route(scope["method"], error), error.headers)
        except asyncio.CancelledError:
            await answer.refuse(Refusal(NOT_READY, "ending", "the server is ending"))
            raise
        except ClientDisconnect:
            logger.debug("the client of request %s went away", answer.id)
        except Exception:
            logger.exception("request %s failed", answer.id)
            # The details are for the log alone.
            await answer.refuse(Refusal(FAULT, "fault", "the server failed; its log says why"))
        finally:
            self._observe(answer.observed())

    def _check_token(self, token: bytes, path: str, headers: dict[bytes, bytes]) -> None:
        if path in self._for_anyone:
            return
        shown = headers.get(b"authorization", b"")
        is_bearer = shown[: len(_SCHEME)].lower() == _SCHEME
        if not hmac.compare_digest(shown[len(_SCHEME) :].strip(), token) or not is_bearer:
            raise Refusal(
                UNAUTHORIZED, "token", "this needs the header Authorization: Bearer with the token"
            )


def _no_route(method: str, error: HTTPException) -> Refusal:
    """Of a path that no route has, or not with the request's method."""
    message = "there is nothing at this path"
    if error.status_code == METHOD_NOT_ALLOWED:
        message = f"{method} is not among the methods of this path"
    return Refusal(error.status_code, "path or method", message)


class _Answer:
    """The answer to a request, as it goes out."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._begun = time.perf_counter()
        self._scope = scope
        self._receive = receive
        self._send = send
        self._status = 0
        self._state = scope.setdefault("state", {})
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.id = request_id(self.headers.get(b"x-request-id"))
        current.set(self.id)

    async def send(self, message: Message) -> None:
        """Pass on a message of ASGI; its headers get the request's id."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            message["headers"] = [*message["headers"], (b"x-request-id", self.id.encode("ascii"))]
        await self._send(message)

    async def refuse(self, refusal: Refusal, headers: Mapping[str, str] | None = None) -> None:
        """Answer with a refusal, unless with another that came first, or an answer has begun.

        Args:
            refusal: to answer with.
            headers: besides those that go with it.
        """
        told = self._state.setdefault("refusal", refusal)
        # Whose variables hold this answer, and with it the refusal and the request's body.
        told.__traceback__ = told.__context__ = told.__cause__ = None
        if not self._status:
            await refusal_response(told, headers)(self._scope, self._receive, self.send)

    def observed(self) -> Answered:
        """What became of the request."""
        refusal: Refusal | None = self._state.get("refusal")
        client = self._scope.get("client")
        return Answered(
            method=self._scope["method"],
            path=self._scope["path"],
            status=self._status if refusal is None else refusal.status,
            seconds=time.perf_counter() - self._begun,
            request_id=self.id,
            client=client[0] if client else "",
            reason="" if refusal is None else refusal.reason,
        )
