"""The log of crisp itself: JSON lines in ECS on stderr, text on a terminal, with repeated messages rate-limited.

These lines are shipped too, so their number must not grow with the number of shipped lines: a message (its text before
formatting) is written at most once in `RATE_LIMIT_SECONDS`; the next one has the number of suppressed messages. The
client libraries report one outage in many different messages: of each of them one is written a minute.
"""

import logging
import sys
import time
from datetime import UTC, datetime

import orjson

from pipeline.config.addresses import CLIENT_ADDRESS
from pipeline.monitoring.printable import printable

RATE_LIMIT_SECONDS = 10.0
CLIENT_RATE_LIMIT_SECONDS = 60.0
CLIENT_LOGGERS = ("aiokafka", "faust", "mode")
_MAX_MESSAGES = 1000
_STANDARD_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "suppressed", "taskName"}


def message_of(record: logging.LogRecord) -> str:
    """Return the message, with addresses as host:port where a client wrote its own notation."""
    return CLIENT_ADDRESS.sub(r"\1:\2", record.getMessage())


class RateLimit(logging.Filter):
    """Passes each message once per interval, and counts the suppressed ones."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is written."""
        key, interval = f"{record.name}:{record.msg}", RATE_LIMIT_SECONDS
        package = record.name.partition(".")[0]
        if package in CLIENT_LOGGERS:
            key, interval = package, CLIENT_RATE_LIMIT_SECONDS
        now = time.monotonic()
        last, suppressed = self._last.get(key, (-interval, 0))
        if now - last < interval and record.levelno < logging.CRITICAL:
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
            "message": message_of(record),
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


class TextFormatter(logging.Formatter):
    """One line per record for people at a terminal; an exception follows on further lines."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        time_of_day = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S")
        suppressed = getattr(record, "suppressed", 0)
        more = f" ({suppressed} more like this)" if suppressed else ""
        text = f"{time_of_day} {record.levelname.lower():7} {message_of(record)}{more}"
        if record.exc_info and record.exc_info[0] is not None:
            text += f"\n{self.formatException(record.exc_info)}"
        return printable(text)


def configure_cli() -> None:
    """For interactive commands: warnings as plain text, without the client libraries' own messages about outages."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("crisp: %(message)s"))
    handler.addFilter(RateLimit())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in ("aiokafka", "elastic_transport"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def configure(level: str = "info") -> None:
    """Write all loggers of this process from `level` on to stderr: as ECS JSON, or as text to a terminal."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(TextFormatter() if sys.stderr.isatty() else EcsFormatter())
    handler.addFilter(RateLimit())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # These report one outage, or their own start, many times.
    for name in CLIENT_LOGGERS:
        logging.getLogger(name).setLevel(logging.INFO if level == "debug" else logging.ERROR)
    logging.getLogger("elastic_transport").setLevel(logging.INFO if level == "debug" else logging.CRITICAL)
