"""Who may call, and how a call's request comes."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import grpc  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]

from nd_deploy.serve.refusal import (
    BAD_REQUEST,
    NOT_READY,
    TIMED_OUT_SENDING,
    UNAUTHORIZED,
    Refusal,
)
from nd_deploy.serve.rpc.parts import check_parts, not_protobuf
from nd_deploy.serve.settings import Settings

Context: TypeAlias = grpc.aio.ServicerContext
# Names that end in "-bin" have bytes.
Metadata: TypeAlias = Mapping[str, str | bytes]

_SCHEME = "bearer "
# Seconds; the least that a client that connects anew can wait.
_RETRY_AFTER = 1


@dataclass(frozen=True)
class Entry:
    """How calls of a method come in.

    Attributes:
        path: of the method.
        request: the class of its request.
        settings: of the server, with the token and the time for a request.
        ending: set once no more calls are taken.
        public: whether it may be called without the token, and up to the end.
    """

    path: str
    request: type[Message]
    settings: Settings
    ending: asyncio.Event
    public: bool

    async def read(self, context: Context, metadata: Metadata) -> Message:
        """The request of a call.

        Args:
            context: of the call.
            metadata: that the client sent with it.

        Raises:
            Refusal: 401, the token is missing or wrong; 503, the server is ending; 408, the request
                did not come in time; 400, it is not of its class.
        """
        if not self.public:
            self._admit(metadata)
        data = await self._receive(context)
        check_parts(data, self.request.DESCRIPTOR)
        try:
            return self.request.FromString(data)
        except DecodeError:
            raise not_protobuf() from None

    def _admit(self, metadata: Metadata) -> None:
        if self.settings.token is not None:
            _check_token(metadata, self.settings.token)
        if self.ending.is_set():
            raise Refusal(NOT_READY, "ending", "the server is ending; ask again", _RETRY_AFTER)

    async def _receive(self, context: Context) -> bytes:
        timeout = self.settings.body_timeout
        try:
            data = await asyncio.wait_for(context.read(), timeout)
        except asyncio.TimeoutError:
            late = f"the request did not come within {timeout:g} s"
            raise Refusal(TIMED_OUT_SENDING, "slow request", late) from None
        if data is grpc.aio.EOF:
            raise Refusal(BAD_REQUEST, "no request", "the call ended without a request")
        return bytes(data)


def _check_token(metadata: Metadata, token: str) -> None:
    shown = str(metadata.get("authorization", ""))
    is_bearer = shown[: len(_SCHEME)].lower() == _SCHEME
    given = shown[len(_SCHEME) :].strip()
    if not hmac.compare_digest(given.encode(), token.encode()) or not is_bearer:
        raise Refusal(
            UNAUTHORIZED,
            "token",
            "the call needs the metadata authorization: Bearer with the token",
        )
