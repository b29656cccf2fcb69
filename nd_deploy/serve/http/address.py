"""The address that is listened on."""

from __future__ import annotations

import errno
import socket
from typing import Any

from nd_deploy.errors import InputError

_BACKLOG = 2048


def listen(host: str, port: int) -> socket.socket:
    """Listen on an address; from then on clients can connect, and wait to be answered.

    Args:
        host: a name or an address; of a name's addresses, IPv4 comes first.
        port: 0 for any that is free.

    Raises:
        InputError: the port is in use or not allowed, or this machine has no such address.
    """
    family, address = _resolve(host, port)
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        # Connections of a server that has ended do not keep the next one from its port.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise _explained(error, host, port) from error
    listener.setblocking(False)
    return listener


def _resolve(host: str, port: int) -> tuple[int, Any]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise InputError(f"'{host}' is no address of this machine (--host)", _OTHER_HOST) from error
    family, _, _, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
    return family, address


def _explained(error: OSError, host: str, port: int) -> InputError:
    if error.errno == errno.EADDRINUSE:
        return InputError(
            f"port {port} of {host} is in use (--http-port)",
            "end what listens there, or name another port; 0 is any that is free",
        )
    if error.errno == errno.EACCES:
        return InputError(
            f"this user may not listen on port {port} (--http-port)", "name a port above 1023"
        )
    return InputError(
        f"{host} cannot be listened on: {error.strerror} (--host, --http-port)", _OTHER_HOST
    )


_OTHER_HOST = "name an address that this machine has, such as 127.0.0.1"
