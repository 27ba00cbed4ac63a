"""A shipper with its status server, and containers whose every byte is recorded."""

import json
from pathlib import Path
from typing import Any

from aiokafka.errors import KafkaError

from pipeline.config.environment import load_settings
from pipeline.local.process import free_ports
from pipeline.local.stack import Stack
from tests.faults.rawtopic import RawTopic
from tests.faults.rotated import RotatedLog
from tests.integration.flow import Flow, eventually
from tests.support.http import get

NEVER_ROTATED = 1 << 40


class Node:
    """`extra`: the settings to create and read the topic; `flow` can give the shipper other settings."""

    def __init__(self, stack: Stack, directory: Path, **extra: str) -> None:
        (self.port,) = free_ports(1)
        endpoint = {"CRISP_SHIP_PORT": str(self.port), "CRISP_STATUS_HOST": "127.0.0.1"}
        self.flow = Flow(stack, directory, **endpoint, **extra)
        self.reader = load_settings(self.flow.environment)
        self.logs: list[RotatedLog] = []

    def container(self, name: str) -> RotatedLog:
        """Add a container whose log is never rotated."""
        self.logs.append(RotatedLog(self.flow.logs, name, NEVER_ROTATED, 4))
        return self.logs[-1]

    def snapshot(self) -> dict[str, Any]:
        """Return the status of the shipper."""
        status: dict[str, Any] = json.loads(get(self.port, "/status.json")[1])
        return status

    def shipper_log(self) -> str:
        """Return the shipper's own log."""
        return self.flow.shipper.output.read_text()

    def topic(self) -> RawTopic:
        """Return the current content of the raw topic."""
        return RawTopic(self.flow.records(self.reader.topic_raw, reader_settings=self.reader))

    def is_complete(self) -> bool:
        """Return whether the raw topic has every byte of the files so far, at its offset."""
        written = {name: content for log in self.logs for name, content in log.contents().items()}
        try:
            topic = self.topic()
        except KafkaError:
            return False
        return topic.count_missing(written) == 0 and not topic.gaps

    def assert_complete(self, seconds: float = 60) -> None:
        """Assert that every byte arrives in the topic in time."""
        try:
            eventually(self.is_complete, seconds, every=1.0)
        except AssertionError as error:
            error.add_note(self.shipper_log()[-3000:])
            raise

    def stop(self) -> None:
        """Stop all processes."""
        self.flow.stop()
        for log in self.logs:
            log.close()
