"""What two processes tell each other: a line of JSON, and the bytes of the arrays that it names."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Message(NamedTuple):
    """What goes over at once.

    Attributes:
        fields: JSON-ready.
        arrays: by name, of numbers.
    """

    fields: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]] = {}


class Channel:
    """One end of a connection.

    Args:
        end: a connected socket, which is closed with the channel.
    """

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._reading = end.makefile("rb")

    def send(self, message: Message) -> None:
        """Send a message, and wait until the other side has taken most of it.

        Raises:
            ConnectionError: the other side is gone.
        """
        import numpy as np

        arrays = {name: _native(np.asarray(array)) for name, array in message.arrays.items()}
        described = [[name, a.dtype.name, list(a.shape)] for name, a in arrays.items()]
        line = json.dumps({"fields": message.fields, "arrays": described})
        self._end.sendall(f"{line}\n".encode())
        for array in arrays.values():
            self._end.sendall(array.tobytes())

    def receive(self) -> Message | None:
        """Wait for a message; None if the other side is gone."""
        try:
            line = self._reading.readline()
            if not line.endswith(b"\n"):
                return None
            head = json.loads(line)
            arrays = {}
            for name, dtype, shape in head["arrays"]:
                arrays[name] = self._array(dtype, shape)
        except ConnectionError:
            return None
        return Message(head["fields"], arrays)

    def close(self) -> None:
        """Close this end, which the other side hears of."""
        self._reading.close()
        self._end.close()

    def _array(self, dtype: str, shape: list[int]) -> NDArray[Any]:
        import numpy as np

        from nd_deploy.runtime.tensorrt.running.execution import numpy_dtype

        array = np.empty(shape, numpy_dtype(dtype))
        data = self._reading.read(array.nbytes)
        if len(data) < array.nbytes:
            raise ConnectionError("it ended within an array")
        array.reshape(-1).view(np.uint8)[:] = np.frombuffer(data, np.uint8)
        return array


def _native(array: NDArray[Any]) -> NDArray[Any]:
    """In this machine's byte order, which the dtype's name does not tell."""
    native: np.dtype[Any] = array.dtype.newbyteorder("=")
    return array.astype(native, copy=False)
