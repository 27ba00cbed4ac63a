"""The log of crisp itself: ECS in JSON, and a message that is repeated is written at intervals."""

import logging
import re
import socket
import sys
from collections.abc import Iterator

import orjson
import pytest

from pipeline.monitoring import log
from pipeline.monitoring.log import EcsFormatter, RateLimit


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    """The root logger, restored after the test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    names = ("aiokafka", "faust", "mode", "elastic_transport")
    levels = {name: logging.getLogger(name).level for name in names}
    yield root
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, previous in levels.items():
        logging.getLogger(name).setLevel(previous)


def record(message: str, level: int = logging.WARNING, extra: dict[str, str] | None = None) -> logging.LogRecord:
    made = logging.LogRecord("pipeline.worker", level, __file__, 1, message, (), None)
    vars(made).update(extra or {})
    return made


def test_record_is_one_line_of_ecs() -> None:
    fields = orjson.loads(EcsFormatter().format(record("no\nanswer", extra={"crisp.dead": "logs/1"})))

    assert fields["message"] == "no\nanswer"
    assert (fields["log.level"], fields["log.logger"]) == ("warning", "pipeline.worker")
    assert fields["crisp.dead"] == "logs/1"
    assert fields["@timestamp"].endswith("+00:00")


def test_record_of_an_exception_has_its_stack_trace() -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        made = record("failed")
        made.exc_info = sys.exc_info()

    fields = orjson.loads(EcsFormatter().format(made))

    assert fields["error.type"] == "ValueError"
    assert "ValueError: broken" in fields["error.stack_trace"]


def test_repeated_message_is_suppressed_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    limit = RateLimit()

    assert [limit.filter(record("same")) for _ in range(3)] == [True, False, False]
    assert limit.filter(record("other"))
    assert limit.filter(record("same", logging.CRITICAL))
    now += log.RATE_LIMIT_SECONDS
    assert not [limit.filter(record("same")) for _ in range(2)][1]


def test_next_message_has_the_number_of_suppressed_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    limit = RateLimit()
    for _ in range(4):
        limit.filter(record("same"))
    now += log.RATE_LIMIT_SECONDS
    last = record("same")

    assert limit.filter(last)
    assert orjson.loads(EcsFormatter().format(last))["crisp.suppressed"] == 3


def test_number_of_remembered_messages_is_bounded() -> None:
    limit = RateLimit()
    for number in range(2500):
        limit.filter(record(f"message {number}"))

    assert len(limit._last) <= 1000


def test_program_writes_json_to_stderr(root_logger: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    log.configure()
    logging.getLogger("pipeline").info("started")
    logging.getLogger("faust").warning("noise")

    (line,) = capsys.readouterr().err.splitlines()
    assert orjson.loads(line)["message"] == "started"


def test_command_writes_warnings_as_text(root_logger: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    log.configure_cli()
    logging.getLogger("pipeline").info("hidden")
    logging.getLogger("pipeline").warning("no answer")
    logging.getLogger("aiokafka").error("noise")

    assert capsys.readouterr().err == "crisp: no answer\n"


def test_level_is_a_setting(root_logger: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("warning")
    logging.getLogger("pipeline").info("hidden")
    logging.getLogger("pipeline").warning("shown")

    (line,) = capsys.readouterr().err.splitlines()
    assert orjson.loads(line)["log.level"] == "warning"


def test_terminal_gets_text(
    root_logger: logging.Logger, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    log.configure()
    logging.getLogger("pipeline").error("no answer of \x1b[31mbroker")

    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d error   no answer of \\x1b\[31mbroker", line)


def test_errors_of_a_client_library_are_written_once_a_minute_and_in_words(
    root_logger: logging.Logger, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With Kafka away, aiokafka reports the outage in many different messages, of several modules."""
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    log.configure()
    address = ("10.0.0.1", 9092, socket.AF_INET)
    for second in range(121):
        now = 100.0 + second
        logging.getLogger("aiokafka.client").error("Unable to connect to %s, attempt %d", address, second)
        logging.getLogger("aiokafka.consumer.fetcher").error(f"Failed fetch messages from {second}")  # noqa: G004
        logging.getLogger("faust.transport").error("Heartbeat failed %d", second)

    messages = [orjson.loads(line)["message"] for line in capsys.readouterr().err.splitlines()]
    assert len(messages) == 6, messages
    assert messages[0] == "Unable to connect to 10.0.0.1:9092, attempt 0"


def test_crisps_own_messages_are_limited_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = RateLimit()

    assert [limit.filter(record(text)) for text in ("partitions assigned: a/0", "partitions assigned: a/1")] == [
        True,
        True,
    ]
