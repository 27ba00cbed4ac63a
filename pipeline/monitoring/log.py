"""The log of crisp itself: JSON lines in ECS on stderr, with every repeated message rate-limited.

These lines are shipped like everyone's, so they must never grow with what is shipped: a message (its text before
arguments are filled in) is written at most once in `QUIET_SECONDS`; the next one says how many were left out.
"""

import logging
import sys
import time
from datetime import UTC, datetime

import orjson

RATE_LIMIT_SECONDS = 10.0
_MAX_MESSAGES = 1000
_STANDARD_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "left_out", "taskName"}


class RateLimit(logging.Filter):
    """Lets a message pass once in a while, and counts what it kept back."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written."""
        key = f"{record.name}:{record.msg}"
        now = time.monotonic()
        last, kept_back = self._last.get(key, (-RATE_LIMIT_SECONDS, 0))
        if now - last < RATE_LIMIT_SECONDS and record.levelno < logging.CRITICAL:
            self._last[key] = (last, kept_back + 1)
            return False
        if len(self._last) >= _MAX_MESSAGES:
            self._last.clear()
        self._last[key] = (now, 0)
        record.left_out = kept_back
        return True


class EcsFormatter(logging.Formatter):
    """One JSON line a record, with the fields that ECS loggers write."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON."""
        fields: dict[str, object] = {
            "@timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "log.level": record.levelname.lower(),
            "message": record.getMessage(),
            "log.logger": record.name,
            "service.name": "crisp",
        }
        fields.update((name, value) for name, value in vars(record).items() if name not in _STANDARD_ATTRIBUTES)
        if getattr(record, "left_out", 0):
            fields["crisp.suppressed"] = record.left_out  # type: ignore[attr-defined]
        if record.exc_info and record.exc_info[0] is not None:
            fields["error.type"] = record.exc_info[0].__name__
            fields["error.stack_trace"] = self.formatException(record.exc_info)
        return orjson.dumps(fields, default=str).decode()


def configure_cli() -> None:
    """For a command that a person runs: warnings as plain lines; a client's own words about an outage not at all."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("crisp: %(message)s"))
    handler.addFilter(RateLimit())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for chatty in ("aiokafka", "elastic_transport"):
        logging.getLogger(chatty).setLevel(logging.CRITICAL)


def configure(level: int = logging.INFO) -> None:
    """Send every logger of this process to stderr in this form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(EcsFormatter())
    handler.addFilter(RateLimit())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # These tell the same outage, or their own start, many times and in many words.
    for chatty in ("aiokafka", "faust", "mode"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    logging.getLogger("elastic_transport").setLevel(logging.CRITICAL)
