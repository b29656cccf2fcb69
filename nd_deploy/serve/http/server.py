"""The server's life: it listens, becomes ready, and ends without losing a request.

uvicorn's own server is not used, but what that serves with: protocol, configuration, event loop. It
would end by raising the signal again, close connections on which a request may be on its way, and
look ten times a second whether it is to end.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from nd_deploy.serve.http.address import listen
from nd_deploy.serve.http.life import Part
from nd_deploy.serve.refusal import Refusal
from nd_deploy.serve.settings import Settings

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from nd_deploy.serve.http.serving import Serving

logger = logging.getLogger(__name__)

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Server:
    """An ASGI application served over HTTP, and what lives and ends with it.

    It listens from now on, and answers while it runs. The first SIGINT or SIGTERM ends it as
    `stop` does, the second at once, as if there were no server. Signals are looked at in the main
    thread alone, so that a test can run a server in another.

    Args:
        app: to be served.
        settings: the address and the limits.
        parts: that live and end with the server, in the order of their start.
        ready: called when all parts have started.
        refused: told of each refusal that the application does not hear of.

    Raises:
        InputError: the address cannot be listened on.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        parts: Sequence[Part] = (),
        ready: Callable[[], None] = lambda: None,
        refused: Callable[[Refusal], None] = lambda _: None,
    ) -> None:
        self._app = app
        self._settings = settings
        self._parts = tuple(parts)
        self._ready = ready
        self._refused = refused
        self._listener = listen(settings.host, settings.http_port)
        host, port, *_ = self._listener.getsockname()
        self._address = (host, port)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()
        self._stop_asked = False

    @property
    def address(self) -> tuple[str, int]:
        """The host and the port that are listened on."""
        return self._address

    def run(self) -> int:
        """Serve until the server is to end.

        Returns:
            How many requests were cut off, because they took longer than the drain's time.

        Raises:
            NdDeployError: a part did not start.
        """
        run: Callable[[Coroutine[Any, Any, int]], int] = asyncio.run
        # There is none for Windows.
        with contextlib.suppress(ImportError):
            import uvloop

            run = uvloop.run
        return run(self.serve())

    def stop(self) -> None:
        """End the server: finish what has been asked, and take no more. From any thread."""
        self._stop_asked = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)

    async def serve(self) -> int:
        """Do what `run` does in a loop that runs."""
        from nd_deploy.serve.http.serving import Serving

        self._loop = asyncio.get_running_loop()
        if self._stop_asked:
            self._stopping.set()
        serving = Serving(self._app, self._settings, self._refused)
        async with contextlib.AsyncExitStack() as closing:
            closing.enter_context(self._signals())
            for part in self._parts:
                closing.push_async_callback(part.close)
            closing.callback(self._forget_loop)
            closing.callback(serving.close)
            await serving.start(self._listener)
            if await self._start_parts():
                self._ready()
                await self._stopping.wait()
            return await self._finish(serving)

    def _forget_loop(self) -> None:
        self._loop = None

    async def _start_parts(self) -> bool:
        """Start all parts, unless the server is to end first.

        Returns:
            Whether they have started.
        """
        starting = asyncio.ensure_future(self._start_each())
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                return True
        finally:
            stopping.cancel()
            starting.cancel()
        await asyncio.wait((starting,))
        if not starting.cancelled():
            starting.result()
        return False

    async def _start_each(self) -> None:
        for part in self._parts:
            await part.start()

    async def _finish(self, serving: Serving) -> int:
        settings = self._settings
        serving.end()
        for part in self._parts:
            part.end()
        await asyncio.sleep(settings.drain_delay)
        others = asyncio.gather(*(part.finish(settings.drain_timeout) for part in self._parts))
        cut_off = await serving.finish(settings.drain_timeout)
        await others
        return cut_off

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        before = {number: signal.getsignal(number) for number in _SIGNALS}
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._on_signal, loop)
        try:
            yield
        finally:
            for number, handler in before.items():
                loop.remove_signal_handler(number)
                signal.signal(number, handler or signal.SIG_DFL)

    def _on_signal(self, loop: asyncio.AbstractEventLoop) -> None:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
            # Whatever state the loop is in, the system obeys.
            signal.signal(number, signal.SIG_DFL)
        # Not before it is true: whoever reads this may send the next signal within microseconds.
        logger.info("ending once all requests are answered; another signal ends at once")
        self._stopping.set()
