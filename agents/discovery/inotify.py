"""Directory events of the Linux kernel: which directories have changed. See inotify(7).

Only what the shipper needs: files made, renamed or removed in a directory; never events of the files' content,
of which a busy node has thousands a second.
"""

import ctypes
import errno
import os
import struct

_ENTRIES_CHANGED = 0x40 | 0x80 | 0x100 | 0x200  # IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE
_SELF_CHANGED = 0x400 | 0x800  # IN_DELETE_SELF, IN_MOVE_SELF
_ONLYDIR, _DONT_FOLLOW = 0x01000000, 0x02000000
_OVERFLOW, _IGNORED = 0x4000, 0x8000
_EVENT = struct.Struct("iIII")


class Inotify:
    """Watched directories; `descriptor` is readable when one of them has changed."""

    def __init__(self) -> None:
        """Raises OSError where the kernel has no instance left, or none at all."""
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.descriptor = self._check(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC), "inotify_init1")
        self._paths: dict[int, str] = {}
        self._watch_descriptors: dict[str, int] = {}

    @staticmethod
    def _check(result: int, call: str) -> int:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, f"{call}: {os.strerror(number)}")
        return result

    def is_watched(self, directory: str) -> bool:
        """Whether the directory is watched."""
        return directory in self._watch_descriptors

    def watch(self, directory: str) -> None:
        """Watch a directory; again is harmless. Raises OSError: ENOSPC when the limit of watches is reached."""
        mask = _ENTRIES_CHANGED | _SELF_CHANGED | _ONLYDIR | _DONT_FOLLOW
        number = self._check(
            self._libc.inotify_add_watch(self.descriptor, os.fsencode(directory), ctypes.c_uint32(mask)),
            "inotify_add_watch",
        )
        self._paths[number] = directory
        self._watch_descriptors[directory] = number

    def read_changed(self) -> set[str] | None:
        """The directories that have changed since the last call; None when events were lost: any may have."""
        directories: set[str] = set()
        lost = False
        while events := self._read():
            position = 0
            while position < len(events):
                number, mask, _, length = _EVENT.unpack_from(events, position)
                position += _EVENT.size + length
                lost = lost or bool(mask & _OVERFLOW)
                directory = self._paths.get(number)
                if directory is not None:
                    directories.add(directory)
                    self._drop_removed(number, directory, mask)
        return None if lost else directories

    def _read(self) -> bytes:
        try:
            return os.read(self.descriptor, 65536)
        except BlockingIOError:
            return b""

    def _drop_removed(self, number: int, directory: str, mask: int) -> None:
        """Forget a directory that is gone from its place: what has its name later is another one."""
        if mask & _SELF_CHANGED and self._libc.inotify_rm_watch(self.descriptor, number) < 0:
            assert ctypes.get_errno() == errno.EINVAL, "only a watch that the kernel has removed already"
        if mask & (_SELF_CHANGED | _IGNORED):
            del self._paths[number]
            if self._watch_descriptors.get(directory) == number:
                del self._watch_descriptors[directory]

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self.descriptor)
