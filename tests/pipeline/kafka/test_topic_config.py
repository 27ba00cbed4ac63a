"""The configuration of a topic is read when the broker knows it; other errors are reported at once."""

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError, UnknownTopicOrPartitionError

from pipeline.kafka import topic_config
from pipeline.kafka.topic_config import read_topic_config

ENTRIES = [("retention.ms", "1000", False, 1, False)]


class Admin:
    """Responds to `describe_configs` with error codes and entries, one response after the other."""

    def __init__(self, *responses: tuple[int, list[Any]]) -> None:
        self.responses = list(responses)

    async def describe_configs(self, resources: list[Any]) -> list[Any]:
        """Return the next response, the last one again and again."""
        code, entries = self.responses.pop(0) if len(self.responses) > 1 else self.responses[0]
        return [SimpleNamespace(resources=[(code, "why", 2, resources[0].name, entries)])]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry at once."""
    monkeypatch.setattr(topic_config, "PAUSE_SECONDS", 0)


@pytest.mark.parametrize("early", [(0, []), (UnknownTopicOrPartitionError.errno, [])], ids=["empty", "unknown"])
async def test_topic_that_was_just_created_is_read_a_moment_later(early: tuple[int, list[Any]]) -> None:
    assert await read_topic_config(Admin(early, early, (0, ENTRIES)), "logs-raw") == {"retention.ms": "1000"}


async def test_topic_that_stays_unknown_is_an_error() -> None:
    with pytest.raises(KafkaError, match="logs-raw"):
        await read_topic_config(Admin((0, [])), "logs-raw")


async def test_missing_right_is_an_error_at_once() -> None:
    with pytest.raises(TopicAuthorizationFailedError, match="configuration of logs-raw: why"):
        await read_topic_config(Admin((TopicAuthorizationFailedError.errno, []), (0, ENTRIES)), "logs-raw")
