"""How a listening socket is closed so that nobody is lost: whoever the kernel has let in would be reset with it."""

import ctypes
import select
import socket
import sys
from contextlib import suppress
from typing import Final

_SO_ATTACH_FILTER: Final = 26
"""Of Linux on x86-64 and ARM (asm-generic/socket.h); socket(7)."""

_DROP_WHO_KNOCKS: Final = (
    (0x30, 0, 0, 13),  # the octet of the TCP header that has the flags (RFC 9293 section 3.1)
    (0x54, 0, 0, 0x12),  # of it SYN and ACK
    (0x15, 0, 1, 0x02),  # SYN alone is the first of a new connection
    (0x06, 0, 0, 0),  # of that not one byte is let through
    (0x06, 0, 0, 0xFFFFFFFF),  # and of all else all: who is half in may come in
)
"""In the language of classic BPF (linux/filter.h)."""


class _Instruction(ctypes.Structure):
    """struct sock_filter (linux/filter.h)."""

    _fields_ = (("code", ctypes.c_uint16), ("jt", ctypes.c_uint8), ("jf", ctypes.c_uint8), ("k", ctypes.c_uint32))


class _Program(ctypes.Structure):
    """struct sock_fprog (linux/filter.h)."""

    _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(_Instruction)))


def admit_nobody_else(listener: socket.socket) -> None:
    """Let the kernel drop whoever knocks at *listener*; those whom it has let in are not touched.

    Who knocks now is not refused but not heard: they try another node after their connect timeout, or hear a refusal once
    the listener is closed, a moment later. Where this cannot be done, all is as it was.
    """
    if sys.platform == "linux":
        instructions = (_Instruction * len(_DROP_WHO_KNOCKS))(*(_Instruction(*each) for each in _DROP_WHO_KNOCKS))
        with suppress(OSError):
            listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, bytes(_Program(len(_DROP_WHO_KNOCKS), instructions)))


def is_somebody_waiting(listener: socket.socket) -> bool:
    """Whether somebody was let in by the kernel, and not yet by us."""
    looking = select.poll()
    looking.register(listener, select.POLLIN)
    return bool(looking.poll(0))
