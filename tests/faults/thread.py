"""Stops one thread of a process, as a disk that never answers does; the others go on. Linux, and rights to trace."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

_SEIZE, _INTERRUPT, _DETACH = 0x4206, 0x4207, 17
_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


def _ptrace(request: int, thread: int) -> None:
    if _libc.ptrace(request, thread, None, None) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@contextmanager
def stopped(thread: int) -> Iterator[None]:
    """While inside, that thread does nothing; a process's first thread has its pid."""
    _ptrace(_SEIZE, thread)
    _ptrace(_INTERRUPT, thread)
    os.waitpid(thread, 0x40000000)  # __WALL: it has stopped
    try:
        yield
    finally:
        _ptrace(_DETACH, thread)
