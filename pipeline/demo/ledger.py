"""Which lines were written, and which of them are found. It knows only what the containers wrote.

A line is known by its container and its bytes; one in JSON by the number and the message in it, since a document
has its fields apart. A document of several lines (a stack trace) counts each of them.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson

DIGEST_BYTES = 8


@dataclass(frozen=True, slots=True)
class Balance:
    """Lines, by what became of them."""

    written: int
    searchable: int
    missing: int
    duplicated: int


def line_key(uid: str, line: bytes) -> bytes:
    """What a line written is known by."""
    if line.startswith(b"{"):
        body = orjson.loads(line)
        line = _numbered_message(body["event"]["sequence"], body["message"])
    return _digest(uid, line)


def document_keys(source: dict[str, Any]) -> list[bytes]:
    """What the lines in a document are known by."""
    uid, message = source["kubernetes.pod.uid"], source["message"]
    if "event.sequence" in source:
        return [_digest(uid, _numbered_message(source["event.sequence"], message))]
    return [_digest(uid, line) for line in message.encode().split(b"\n")]


def _numbered_message(number: int, message: str) -> bytes:
    return f"{number}:{message}".encode()


def _digest(uid: str, line: bytes) -> bytes:
    return hashlib.blake2b(line, digest_size=DIGEST_BYTES, key=uid.encode()[:64]).digest()


class Ledger:
    """The lines written so far."""

    def __init__(self) -> None:
        self.lines = 0
        self._written: dict[str, Counter[bytes]] = {}
        self._duplicated = 0  # of the containers that are settled

    def record(self, uid: str, line: bytes) -> None:
        """Note a line before it is written."""
        self.lines += 1
        # As the document will have it: a JSON document cannot hold bytes that are not UTF-8.
        self._written.setdefault(uid, Counter())[line_key(uid, line.decode("utf-8", "replace").encode())] += 1

    def open_containers(self) -> list[str]:
        """The containers whose lines are not settled."""
        return list(self._written)

    def balance(self, searchable: Counter[bytes]) -> Balance:
        """Compare with the lines found of the open containers. A line that nobody wrote counts as doubled."""
        missing, doubled = self._compare(self._written, searchable)
        return Balance(self.lines, self.lines - missing, missing, doubled + self._duplicated)

    def finalise(self, uids: Iterable[str], searchable: Counter[bytes]) -> bool:
        """Forget the lines of containers that have ended, if all of them were found; whether they were."""
        missing, doubled = self._compare(uids, searchable)
        if missing:
            return False
        self._duplicated += doubled
        for uid in uids:
            self._written.pop(uid, None)
        return True

    def _compare(self, uids: Iterable[str], searchable: Counter[bytes]) -> tuple[int, int]:
        there = missing = 0
        for uid in uids:
            for key, number in self._written.get(uid, Counter()).items():
                there += min(number, searchable[key])
                missing += max(0, number - searchable[key])
        return missing, searchable.total() - there
