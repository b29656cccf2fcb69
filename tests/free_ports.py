"""Ports for servers that have to be told theirs before they start."""

import contextlib
import random
import socket

# Linux gives clients ports from 32768 on.
_UNASSIGNED = range(20_000, 32_000)


def free_ports(count):
    """Ports of the loopback that nobody has now, and that the system gives to nobody by itself.

    A client that tries one of those before anybody listens there may come to be connected to
    itself, and hold the port.
    """
    with contextlib.ExitStack() as stack:
        sockets = []
        for port in random.sample(_UNASSIGNED, len(_UNASSIGNED)):
            each = stack.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                each.bind(("127.0.0.1", port))
                sockets.append(each)
            if len(sockets) == count:
                return [each.getsockname()[1] for each in sockets]
    raise AssertionError("no port is free")
