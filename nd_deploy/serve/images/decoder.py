"""Threads that decode images beside the event loop, and how much may wait for them."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from nd_deploy import compat
from nd_deploy.preprocess import Preprocessing
from nd_deploy.serve.images.decoding import decode_image, load_decoders
from nd_deploy.serve.images.multipart import file_of_form, is_multipart
from nd_deploy.serve.refusal import QUEUE_FULL, TOO_LARGE, Refusal
from nd_deploy.serve.settings import Settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# A photograph takes some 20 ms; more threads would take processors from the models.
_THREADS = 2


class Decoder:
    """Decodes images in threads of its own.

    Args:
        settings: whose limits hold; `queue_limit` and `queue_bytes` for the files that are decoded
            or wait for it.

    Raises:
        MissingDependencyError: Pillow or python-multipart is not installed.
    """

    def __init__(self, settings: Settings) -> None:
        for module in ("PIL.Image", "python_multipart"):
            compat.require(module, "serve")
        load_decoders()
        self._settings = settings
        self._pool = ThreadPoolExecutor(_THREADS, "decode-image")
        self._lock = threading.Lock()
        self._files = 0
        self._bytes = 0

    async def decode(
        self, body: bytes, content_type: str, preprocessing: Preprocessing
    ) -> NDArray[np.float32]:
        """Decode the image of a request.

        A caller that is cancelled leaves nothing behind: what waits is dropped with its bytes, and
        the result of what is being decoded is thrown away.

        Args:
            body: an image file, or a form that holds one.
            content_type: of the body; it matters for a form alone.
            preprocessing: of the model.

        Returns:
            (1, C, H, W).

        Raises:
            Refusal: as of `decode_image`; 400, the form is not one file; 413, the file is too
                large; 429, too much waits already.
        """
        size = len(body)
        self._admit(size)
        # A cancelled job stays in the pool's queue until a thread comes to it; its bytes do not.
        waiting = [body]
        done = self._pool.submit(self._decode, waiting, content_type, preprocessing)
        del body

        def release(_: Future[NDArray[np.float32]]) -> None:
            waiting.clear()
            with self._lock:
                self._files -= 1
                self._bytes -= size

        done.add_done_callback(release)
        return await asyncio.wrap_future(done)

    def close(self) -> None:
        """Drop what waits, and let the threads end after what they decode now."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _admit(self, size: int) -> None:
        with self._lock:
            if (
                self._files >= self._settings.queue_limit
                or self._bytes + size > self._settings.queue_bytes
            ):
                message = "too many images wait to be decoded: try again"
                raise Refusal(QUEUE_FULL, "images waiting", message, retry_after=1)
            self._files += 1
            self._bytes += size

    def _decode(
        self, waiting: list[bytes], content_type: str, preprocessing: Preprocessing
    ) -> NDArray[np.float32]:
        file = waiting.pop()
        if is_multipart(content_type):
            file = file_of_form(file, content_type)
        limit = self._settings.image_bytes
        if len(file) > limit:
            message = f"the image file is larger than the {limit} bytes that are taken here"
            raise Refusal(TOO_LARGE, "image bytes", message)
        return decode_image(file, preprocessing, self._settings.image_pixels)
