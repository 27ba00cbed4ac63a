"""A shipper with its endpoint, and containers whose every byte is known."""

import json
from pathlib import Path
from typing import Any

from aiokafka.errors import KafkaError

from pipeline.config import settings
from pipeline.local.process import free_ports
from pipeline.local.stack import Stack
from tests.faults.rawtopic import RawTopic
from tests.faults.rotated import RotatedLog
from tests.integration.flow import Flow, eventually
from tests.integration.test_status import get

NEVER_ROTATED = 1 << 40


class Node:
    """`extra`: the settings of whoever makes the topic and reads it; the shipper's can be changed by `become`."""

    def __init__(self, stack: Stack, directory: Path, **extra: str) -> None:
        (self.port,) = free_ports(1)
        told = {"CRISP_SHIP_PORT": str(self.port), "CRISP_STATUS_HOST": "127.0.0.1"}
        self.flow = Flow(stack, directory, **told, **extra)
        self.reader = settings.load(self.flow.environment)
        self.logs: list[RotatedLog] = []

    def container(self, name: str) -> RotatedLog:
        """One more container, which is never rotated."""
        self.logs.append(RotatedLog(self.flow.logs, name, NEVER_ROTATED, 4))
        return self.logs[-1]

    def snapshot(self) -> dict[str, Any]:
        """What the shipper tells of itself."""
        found: dict[str, Any] = json.loads(get(self.port, "/status.json")[1])
        return found

    def shipper_log(self) -> str:
        """The shipper's own log."""
        return self.flow.shipper.output.read_text()

    def topic(self) -> RawTopic:
        """What Kafka holds now."""
        return RawTopic(self.flow.records(self.reader.topic_raw, reader_settings=self.reader))

    def is_complete(self) -> bool:
        """Whether Kafka holds every byte that the files have held until now, each at its place."""
        held = {name: held for log in self.logs for name, held in log.contents().items()}
        try:
            topic = self.topic()
        except KafkaError:
            return False
        return topic.count_missing(held) == 0 and not topic.gaps

    def assert_complete(self, seconds: float = 60) -> None:
        """Every byte comes to the topic in time."""
        try:
            eventually(self.is_complete, seconds, every=1.0)
        except AssertionError as fault:
            fault.add_note(self.shipper_log()[-3000:])
            raise

    def stop(self) -> None:
        """End what is running."""
        self.flow.stop()
        for log in self.logs:
            log.close()
