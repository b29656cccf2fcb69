"""What all connections of the server share."""

from __future__ import annotations

import asyncio

from uvicorn.server import ServerState


class Connections(ServerState):
    """uvicorn's state of a server, and what its end needs to know.

    Attributes:
        ending: whether each answer is to be the last of its connection.
        none_left: set while there is no connection.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ending = False
        self.none_left = asyncio.Event()
        self.none_left.set()
