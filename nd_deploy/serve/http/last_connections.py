"""A listening socket that is about to be closed, without those who have connected being lost.

The system resets connections that it has completed and the server has not accepted. Unless it is
kept from completing more, some are lost at every end of a busy server.
"""

from __future__ import annotations

import select
import socket
import struct
import sys

# Of the Linux headers asm-generic/socket.h, linux/filter.h and linux/tcp.h; Python has none.
_SO_ATTACH_FILTER = 26
_LOAD_BYTE, _JUMP_IF_SET, _RETURN = 0x30, 0x45, 0x06
_FLAGS, _SYN = 13, 0x02
_DROP, _KEEP = 0, 0xFFFFFFFF
_INSTRUCTION = struct.Struct("HBBI")
# For the packets of the listening socket alone, each from its TCP header on. An operation, how many
# instructions to skip if it holds and if not, and its operand.
_DROP_SYN = (
    (_LOAD_BYTE, 0, 0, _FLAGS),
    (_JUMP_IF_SET, 0, 1, _SYN),
    (_RETURN, 0, 0, _DROP),
    (_RETURN, 0, 0, _KEEP),
)


def begin_no_more(listener: socket.socket) -> None:
    """Have clients' further attempts to connect go unheard; those begun are completed.

    A client that tries again once the socket is closed, as the system does for it, is refused.
    Where the system is not Linux, nothing is done.

    Args:
        listener: of TCP.

    Raises:
        OSError: the system does not allow it.
    """
    if sys.platform != "linux":
        return
    import ctypes

    program = b"".join(_INSTRUCTION.pack(*instruction) for instruction in _DROP_SYN)
    buffer = ctypes.create_string_buffer(program, len(program))
    located = struct.pack("HP", len(_DROP_SYN), ctypes.addressof(buffer))
    listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, located)


def anyone_waits(listener: socket.socket) -> bool:
    """Whether there is a connection that is complete and not accepted."""
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    return bool(poll.poll(0))
