"""Lines that real loggers wrote, captured by `capture.py`: each event whole, with all its fields, nothing invented."""

from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from pipeline.config.settings import Settings
from pipeline.contract import cri
from pipeline.contract.record import LogSlice, Segment, SourceFile
from pipeline.documents.builder import DocumentBuilder
from tests.captures.expectations import ANY, SETUPS, Expected

CAPTURES = Path(__file__).parent / "captures"
POD = {"namespace": "shop", "pod": "pay-1", "uid": "u", "container": "pay", "node": "n-1"}
MAX_TIME_DIFFERENCE_SECONDS = 3.0
"""Between the application's time and that of the line's arrival; start-up lines of a JVM may be delayed."""


def documents(name: str) -> list[dict[str, Any]]:
    """The documents of a capture, in the order of the file."""
    value = (CAPTURES / f"{name}.log").read_bytes()
    first = cri.first_time(value) or 0
    settings = Settings()
    log_slice = LogSlice(
        value=value,
        files=(SourceFile("AAAAAAAAAAAAAAAA", "/var/log/pods/shop_pay-1_u/pay/0.log"),),
        segments=(Segment(0, 0, len(value)),),
        node="n-1",
        read_at=first + 10**9,
        grouping=settings.grouping,
        pod=orjson.dumps(POD),
    )
    batch = DocumentBuilder(settings).build(log_slice, first + 2 * 10**9)
    return sorted((orjson.loads(source) for source in batch.sources), key=lambda source: int(source["log.offset"]))


def differences(sources: list[dict[str, Any]], expected: list[Expected]) -> list[str]:
    """Compare in order; a document that is not expected may have neither level, logger nor error."""
    found = []
    pending = list(expected)
    for source in sources:
        event = pending[0] if pending and pending[0].text in source["message"] else None
        if event is not None:
            pending.pop(0)
        found += [
            f"{source['message'][:60]!r}: {name} is {value!r}, not {wanted!r}"
            for name, value, wanted in _pairs(source, event or Expected(""))
            if value != wanted
        ]
        found += _time_difference(source)
    return found + [f"no document for {event.text!r}" for event in pending]


def _pairs(source: dict[str, Any], event: Expected) -> list[tuple[str, object, object]]:
    return [
        ("log.level", source.get("log.level"), event.level),
        ("log.logger", source.get("log.logger"), event.logger),
        ("error.type", source.get("error.type"), event.error_type),
        ("error.message", source.get("error.message"), event.error_message),
        ("trace.id", source.get("trace.id"), event.trace),
        ("error.stack_trace", "error.stack_trace" in source, event.stack if event.text else ANY),
        ("service.name", source.get("service.name"), event.service),
    ]


def _time_difference(source: dict[str, Any]) -> list[str]:
    times = [datetime.fromisoformat(source[name]) for name in ("@timestamp", "log.iotime") if name in source]
    seconds = abs((times[0] - times[-1]).total_seconds())
    return (
        [f"{source['message'][:60]!r}: @timestamp differs by {seconds} s"]
        if seconds > MAX_TIME_DIFFERENCE_SECONDS
        else []
    )


def test_every_capture_has_its_expectations() -> None:
    assert {path.stem for path in CAPTURES.glob("*.log")} == set(SETUPS)


@pytest.mark.parametrize("name", SETUPS)
def test_captured_events_are_read_as_they_were_logged(name: str) -> None:
    found = differences(documents(name), SETUPS[name])

    assert not found, "\n".join(found)
