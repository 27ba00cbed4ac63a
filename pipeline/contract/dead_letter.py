"""The contract of the dead-letter topic: what could not be indexed, why, and where it came from. Pure.

value    a document's JSON, or a whole record's bytes; both as redaction leaves them
headers  those of the raw record, as they were, and
         dead-reason  why, in words
         dead-source  TOPIC/PARTITION/OFFSET of the raw record
         dead-time    its time, milliseconds since the epoch, decimal
         dead-index   the index that refused it; only for a document
         dead-id      the document's id; only for a document
"""

from dataclasses import dataclass

from pipeline.contract.record import Headers, KafkaPosition
from pipeline.errors import RecordError

HEADER_PREFIX = "dead-"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One of them. `headers` are the raw record's; `index` and `id` are empty for a whole record."""

    value: bytes
    reason: str
    origin: KafkaPosition
    headers: Headers
    index: str = ""
    id: str = ""


def encode(dead_letter: DeadLetter) -> Headers:
    """The headers with which a letter's value lies in the topic."""
    topic, partition, offset, timestamp = dead_letter.origin
    headers = [
        *((name, data) for name, data in dead_letter.headers if not name.startswith(HEADER_PREFIX)),
        ("dead-reason", dead_letter.reason.encode()),
        ("dead-source", f"{topic}/{partition}/{offset}".encode()),
        ("dead-time", b"%d" % timestamp),
    ]
    if dead_letter.id:
        headers += [("dead-index", dead_letter.index.encode()), ("dead-id", dead_letter.id.encode())]
    return headers


def decode(value: bytes, headers: Headers) -> DeadLetter:
    """Read a letter. Raises RecordError for what is none."""
    about = {name: data.decode("utf-8", "replace") for name, data in headers if name.startswith(HEADER_PREFIX)}
    if "dead-reason" not in about:
        raise RecordError("no dead letter: it has no header dead-reason")
    try:
        topic, partition, offset = about.get("dead-source", "/-1/-1").rsplit("/", 2)
        origin = KafkaPosition(topic, int(partition), int(offset), int(about.get("dead-time", 0)))
    except ValueError as cause:
        raise RecordError(f"dead letter: its source cannot be read: {cause}") from cause
    own = [(name, data) for name, data in headers if not name.startswith(HEADER_PREFIX)]
    return DeadLetter(value, about["dead-reason"], origin, own, about.get("dead-index", ""), about.get("dead-id", ""))
