"""The contract of the dead-letter topic: rejected documents and records, with reason and source. Pure.

value    a document's JSON, or the bytes of a whole record; both redacted
headers  those of the raw record, unchanged, and
         dead-reason  the reason, as text
         dead-source  TOPIC/PARTITION/OFFSET of the raw record
         dead-time    its time, milliseconds since the epoch, decimal
         dead-index   the index that rejected it; only for a document
         dead-id      the document's id; only for a document
"""

from dataclasses import dataclass

from pipeline.contract.record import Headers, KafkaPosition
from pipeline.errors import RecordError

HEADER_PREFIX = "dead-"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One dead letter. `headers` are those of the raw record; `index` and `id` are empty for a whole record."""

    value: bytes
    reason: str
    origin: KafkaPosition
    headers: Headers
    index: str = ""
    id: str = ""


def encode(dead_letter: DeadLetter) -> Headers:
    """Return the headers of a dead letter's record."""
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
    """Decode a dead letter. Raises RecordError if the record is not one."""
    fields = {name: data.decode("utf-8", "replace") for name, data in headers if name.startswith(HEADER_PREFIX)}
    if "dead-reason" not in fields:
        raise RecordError("not a dead letter: no header dead-reason")
    try:
        topic, partition, offset = fields.get("dead-source", "/-1/-1").rsplit("/", 2)
        origin = KafkaPosition(topic, int(partition), int(offset), int(fields.get("dead-time", 0)))
    except ValueError as error:
        raise RecordError(f"dead letter: invalid source: {error}") from error
    raw_headers = [(name, data) for name, data in headers if not name.startswith(HEADER_PREFIX)]
    return DeadLetter(
        value, fields["dead-reason"], origin, raw_headers, fields.get("dead-index", ""), fields.get("dead-id", "")
    )
