"""The lines written by the containers, compared with the lines found in the documents. For the demo and for tests.

A line is identified by its container and its bytes; a JSON line by its sequence number and message, since a document
holds its fields separately. A document of several lines (a stack trace) counts each of them.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import orjson

from pipeline.contract.json_types import JsonObject

DIGEST_BYTES = 8


@dataclass(frozen=True, slots=True)
class Balance:
    """Numbers of lines by result."""

    written: int
    searchable: int
    missing: int
    duplicated: int


def line_key(uid: str, line: bytes) -> bytes:
    """Return the key of a written line."""
    if line.startswith(b"{"):
        body = orjson.loads(line)
        line = _numbered_message(body["event"]["sequence"], body["message"])
    return _digest(uid, line)


def document_keys(source: JsonObject) -> list[bytes]:
    """Return the keys of the lines in a document."""
    uid, message = source["kubernetes.pod.uid"], source["message"]
    if "event.sequence" in source:
        return [_digest(uid, _numbered_message(source["event.sequence"], message))]
    return [_digest(uid, line) for line in message.encode().split(b"\n")]


def _numbered_message(number: int, message: str) -> bytes:
    return f"{number}:{message}".encode()


def _digest(uid: str, line: bytes) -> bytes:
    return hashlib.blake2b(line, digest_size=DIGEST_BYTES, key=uid.encode()[:64]).digest()


class Ledger:
    """Counts the written lines of each container."""

    def __init__(self) -> None:
        self.lines = 0
        self._written: dict[str, Counter[bytes]] = {}
        self._duplicated = 0  # lines of the finalised containers

    def record(self, uid: str, line: bytes) -> None:
        """Record a line before it is written."""
        self.lines += 1
        # Decoded as in the document: JSON cannot hold bytes that are not UTF-8.
        self._written.setdefault(uid, Counter())[line_key(uid, line.decode("utf-8", "replace").encode())] += 1

    def open_containers(self) -> list[str]:
        """Return the uids of the containers that are not finalised."""
        return list(self._written)

    def balance(self, searchable: Counter[bytes]) -> Balance:
        """Compare with the searchable lines of the open containers. An unknown line counts as duplicated."""
        missing, duplicated = self._compare(self._written, searchable)
        return Balance(self.lines, self.lines - missing, missing, duplicated + self._duplicated)

    def finalise(self, uids: Iterable[str], searchable: Counter[bytes]) -> bool:
        """Drop the lines of exited containers if all are searchable; return whether they are."""
        missing, duplicated = self._compare(uids, searchable)
        if missing:
            return False
        self._duplicated += duplicated
        for uid in uids:
            self._written.pop(uid, None)
        return True

    def _compare(self, uids: Iterable[str], searchable: Counter[bytes]) -> tuple[int, int]:
        matched = missing = 0
        for uid in uids:
            for key, number in self._written.get(uid, Counter()).items():
                matched += min(number, searchable[key])
                missing += max(0, number - searchable[key])
        return missing, searchable.total() - matched
