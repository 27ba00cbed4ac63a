"""The log of crisp itself: JSON lines in ECS on stderr, with repeated messages rate-limited.

These lines are shipped too, so their number must not grow with the number of shipped lines: a message (its text before
formatting) is written at most once in `RATE_LIMIT_SECONDS`; the next one has the number of suppressed messages.
"""

import logging
import sys
import time
from datetime import UTC, datetime

import orjson

RATE_LIMIT_SECONDS = 10.0
_MAX_MESSAGES = 1000
_STANDARD_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "suppressed", "taskName"}


class RateLimit(logging.Filter):
    """Passes each message once per `RATE_LIMIT_SECONDS`, and counts the suppressed ones."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is written."""
        key = f"{record.name}:{record.msg}"
        now = time.monotonic()
        last, suppressed = self._last.get(key, (-RATE_LIMIT_SECONDS, 0))
        if now - last < RATE_LIMIT_SECONDS and record.levelno < logging.CRITICAL:
            self._last[key] = (last, suppressed + 1)
            return False
        if len(self._last) >= _MAX_MESSAGES:
            self._last.clear()
        self._last[key] = (now, 0)
        record.suppressed = suppressed
        return True


class EcsFormatter(logging.Formatter):
    """One JSON line per record, with the fields of the ECS loggers."""

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
        if getattr(record, "suppressed", 0):
            fields["crisp.suppressed"] = record.suppressed  # type: ignore[attr-defined]
        if record.exc_info and record.exc_info[0] is not None:
            fields["error.type"] = record.exc_info[0].__name__
            fields["error.stack_trace"] = self.formatException(record.exc_info)
        return orjson.dumps(fields, default=str).decode()


def configure_cli() -> None:
    """For interactive commands: warnings as plain text, without the client libraries' own messages about outages."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("crisp: %(message)s"))
    handler.addFilter(RateLimit())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in ("aiokafka", "elastic_transport"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def configure(level: int = logging.INFO) -> None:
    """Write all loggers of this process to stderr as ECS JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(EcsFormatter())
    handler.addFilter(RateLimit())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # These report one outage, or their own start, many times.
    for name in ("aiokafka", "faust", "mode"):
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.getLogger("elastic_transport").setLevel(logging.CRITICAL)
