"""`crisp setup --wait`: what it waits for, how long, and what no waiting helps."""

import threading

import pytest

from pipeline.operations.setup import setup
from tests.support.command_line import CommandLine
from tests.support.fake_elasticsearch import Response


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry at once."""
    monkeypatch.setattr(setup, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(setup, "MAX_PAUSE_SECONDS", 0.02)


def test_setup_waits_for_kafka_and_says_so(crisp: CommandLine) -> None:
    crisp.kafka.unavailable = True
    timer = threading.Timer(0.2, lambda: setattr(crisp.kafka, "unavailable", False))
    timer.start()

    result = crisp("setup", "--wait", "60s")

    timer.join()
    assert result.code == 0, result.err
    assert result.err.startswith("waiting, at most 60 s: cannot create topics at ")
    assert "topic logs-raw: created" in result.out


@pytest.mark.parametrize(
    "response",
    [Response(503, {}), Response(403, {}), Response(429, {}), OSError("connection refused"), TimeoutError()],
    ids=["starting", "role not made yet", "overloaded", "away", "frozen"],
)
def test_setup_waits_for_elasticsearch_and_says_so(crisp: CommandLine, response: Response | Exception) -> None:
    crisp.elasticsearch.respond("GET", "/_ilm/policy/*", response)

    result = crisp("setup", "--wait", "60s", "--quiet")

    assert (result.code, result.out) == (0, "")
    assert result.err.count("waiting, at most ") == 1
    assert "Elasticsearch" in result.err


def test_setup_without_wait_ends_at_once(crisp: CommandLine) -> None:
    crisp.kafka.unavailable = True

    result = crisp("setup")

    assert (result.code, result.out) == (1, "")
    assert result.err.startswith("crisp: cannot create topics at ")


def test_setup_ends_with_the_problem_after_the_deadline(crisp: CommandLine) -> None:
    crisp.kafka.unavailable = True

    result = crisp("setup", "--wait", "0.1s")

    assert result.code == 1
    assert result.err.splitlines()[-1].startswith("crisp: cannot create topics at ")


def test_setup_does_not_wait_for_what_stays_wrong(crisp: CommandLine) -> None:
    crisp.kafka.create_topic("logs-raw", partitions=1, **{"max.message.bytes": "1000"})

    result = crisp("setup", "--wait", "60s")

    assert (result.code, "waiting" in result.err) == (1, False)
    assert "max.message.bytes" in result.err


def test_wait_must_be_a_duration(crisp: CommandLine) -> None:
    result = crisp("setup", "--wait", "soon")

    assert (result.code, result.err.startswith("crisp setup: --wait soon: not a duration")) == (2, True)
