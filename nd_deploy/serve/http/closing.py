"""The end of a connection whose client may still be sending."""

from __future__ import annotations

import asyncio


class Closing:
    """Closes a connection so that the client gets to read its last answer.

    A socket that is closed with data unread resets the connection, and then many a client sees the
    reset and not the answer. So what still comes is thrown away for a while.

    Args:
        transport: of the connection.
        taking: seconds that the client has for taking its last answer, once it has sent all.
        sending: seconds that it has otherwise.
        allowance: bytes that are thrown away until then.
    """

    def __init__(
        self, transport: asyncio.Transport, taking: float, sending: float, allowance: int
    ) -> None:
        self._transport = transport
        self._taking = taking
        self._sending = sending
        self._allowance = allowance
        self._cut: asyncio.TimerHandle | None = None

    @property
    def begun(self) -> bool:
        """Whether nothing more is answered."""
        return self._cut is not None

    def begin(self, client_is_done: bool) -> None:
        """Close for writing once all is written, and, if the client has sent all, altogether."""
        if self.begun:
            return
        seconds = self._taking if client_is_done else self._sending
        self._cut = asyncio.get_running_loop().call_later(seconds, self._transport.abort)
        if client_is_done:
            self._transport.close()
        else:
            self._transport.write_eof()

    def discard(self, size: int) -> bool:
        """Throw away some bytes that came; past the allowance the connection is cut.

        Returns:
            Whether it still stands.
        """
        self._allowance -= size
        if self._allowance < 0:
            self._transport.abort()
        return self._allowance >= 0

    def done(self) -> None:
        """Note that the connection is closed."""
        if self._cut is not None:
            self._cut.cancel()
