"""The contract of the dead-letter topic: rejected documents and records, with reason and source. Pure.

value    a document's JSON, or the bytes of a whole record; both redacted
headers  those of the raw record, unchanged, and
         dead-reason  the reason, as text
         dead-source  TOPIC/PARTITION/OFFSET of the raw record
         dead-time    its time, milliseconds since the epoch, decimal
         dead-index   the index that rejected it; only for a document
         dead-id      the document's id; only for a document
             dead-incomplete  what is missing, as text; only if the value is not a whole document or record. The
                              whole record is at dead-source, as long as Kafka retains it

A reason has at most REASON_MAX_CHARACTERS. A dead letter that Kafka rejects for its size is sent in a smaller form.
"""

from dataclasses import dataclass, replace

from pipeline.contract.record import Headers, KafkaPosition
from pipeline.errors import RecordError

HEADER_PREFIX = "dead-"
REASON_MAX_CHARACTERS = 4096
SMALL_HEADER_BYTES = 256
SMALL_HEADERS_BYTES = 16 * 1024
EXCERPT_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One dead letter. `headers` are those of the raw record; `index` and `id` are empty for a whole record.

    `incomplete`: what is missing, empty if `value` and `headers` are whole.
    """

    value: bytes
    reason: str
    origin: KafkaPosition
    headers: Headers
    index: str = ""
    id: str = ""
    incomplete: str = ""

    @property
    def size(self) -> int:
        """The size of its record, about."""
        return len(self.value) + sum(len(name) + len(data) for name, data in encode(self))

    def smaller(self) -> "DeadLetter | None":
        """Return a form of it that takes less: without large headers, then with an excerpt of the value; else None."""
        if sum(len(name) + len(data) for name, data in self.headers) > SMALL_HEADERS_BYTES:
            # A document can be indexed without the record's headers.
            missing = self.incomplete or ("" if self.id else "large headers")
            return replace(self, headers=_small(self.headers), incomplete=missing)
        if len(self.value) > EXCERPT_BYTES:
            missing = f"{len(self.value) - EXCERPT_BYTES} bytes of the value"
            return replace(self, value=self.value[:EXCERPT_BYTES], incomplete=missing)
        return None


def _small(headers: Headers) -> Headers:
    kept, free = [], SMALL_HEADERS_BYTES
    for name, data in headers:
        size = len(name) + len(data)
        if size <= min(SMALL_HEADER_BYTES, free):
            kept.append((name, data))
            free -= size
    return kept


def encode(dead_letter: DeadLetter) -> Headers:
    """Return the headers of a dead letter's record."""
    topic, partition, offset, timestamp = dead_letter.origin
    headers = [
        *((name, data) for name, data in dead_letter.headers if not name.startswith(HEADER_PREFIX)),
        ("dead-reason", dead_letter.reason[:REASON_MAX_CHARACTERS].encode("utf-8", "replace")),
        ("dead-source", f"{topic}/{partition}/{offset}".encode()),
        ("dead-time", b"%d" % timestamp),
    ]
    if dead_letter.id:
        headers += [("dead-index", dead_letter.index.encode()), ("dead-id", dead_letter.id.encode())]
    if dead_letter.incomplete:
        headers.append(("dead-incomplete", dead_letter.incomplete.encode()))
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
        value,
        fields["dead-reason"],
        origin,
        raw_headers,
        fields.get("dead-index", ""),
        fields.get("dead-id", ""),
        fields.get("dead-incomplete", ""),
    )
