"""Directory events of the Linux kernel, see inotify(7).

Only the events that the shipper needs: files created, renamed or deleted in a directory; never events of the files'
content, of which a busy node has thousands a second.
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
        """Raises OSError if the kernel has no inotify instance left, or does not support inotify."""
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
        """Return whether the directory is watched."""
        return directory in self._watch_descriptors

    def watch(self, directory: str) -> None:
        """Watch a directory; idempotent. Raises OSError: ENOSPC when the limit of watches is reached."""
        mask = _ENTRIES_CHANGED | _SELF_CHANGED | _ONLYDIR | _DONT_FOLLOW
        watch_descriptor = self._check(
            self._libc.inotify_add_watch(self.descriptor, os.fsencode(directory), ctypes.c_uint32(mask)),
            "inotify_add_watch",
        )
        self._paths[watch_descriptor] = directory
        self._watch_descriptors[directory] = watch_descriptor

    def read_changed(self) -> set[str] | None:
        """Return the directories that changed since the last call; None if the event queue overflowed."""
        directories: set[str] = set()
        overflow = False
        while events := self._read():
            position = 0
            while position < len(events):
                watch_descriptor, mask, _, length = _EVENT.unpack_from(events, position)
                position += _EVENT.size + length
                overflow = overflow or bool(mask & _OVERFLOW)
                directory = self._paths.get(watch_descriptor)
                if directory is not None:
                    directories.add(directory)
                    self._drop_removed(watch_descriptor, directory, mask)
        return None if overflow else directories

    def _read(self) -> bytes:
        try:
            return os.read(self.descriptor, 65536)
        except BlockingIOError:
            return b""

    def _drop_removed(self, watch_descriptor: int, directory: str, mask: int) -> None:
        """Drop the watch of a directory that was deleted or moved: a later one of its name is another directory."""
        if mask & _SELF_CHANGED and self._libc.inotify_rm_watch(self.descriptor, watch_descriptor) < 0:
            assert ctypes.get_errno() == errno.EINVAL, "only a watch that the kernel has removed already"
        if mask & (_SELF_CHANGED | _IGNORED):
            del self._paths[watch_descriptor]
            if self._watch_descriptors.get(directory) == watch_descriptor:
                del self._watch_descriptors[directory]

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.descriptor)
