"""A shipper with its endpoint, and containers whose every byte is known."""

import json
from pathlib import Path
from typing import Any

from pipeline.local.process import free_ports
from pipeline.local.stack import Stack
from tests.faults.rawtopic import RawTopic
from tests.faults.rotated import RotatedLog
from tests.integration.flow import Flow, eventually
from tests.integration.test_status import get

NEVER = 1 << 40


class Node:
    """A shipper with its endpoint, and containers whose every byte is known."""

    def __init__(self, stack: Stack, directory: Path, **extra: str) -> None:
        (self.port,) = free_ports(1)
        told = {"CRISP_SHIP_PORT": str(self.port), "CRISP_STATUS_HOST": "127.0.0.1"}
        self.flow = Flow(stack, directory, **told, **extra)
        self.logs: list[RotatedLog] = []

    def container(self, name: str) -> RotatedLog:
        """One more container, which is never rotated."""
        self.logs.append(RotatedLog(self.flow.logs, name, NEVER, 4))
        return self.logs[-1]

    def facts(self) -> dict[str, Any]:
        """What the shipper tells of itself."""
        found: dict[str, Any] = json.loads(get(self.port, "/status.json")[1])
        return found

    def said(self) -> str:
        """The shipper's own log."""
        return self.flow.shipper.output.read_text()

    def all_there(self) -> bool:
        """Whether Kafka has acknowledged all that the files hold, as the shipper tells."""
        if get(self.port, "/status.json")[0] != 200:
            return False
        now = self.facts()
        return not (now["unread_bytes"] or now["in_flight_bytes"] or now["lost"]["untold"]) and now["containers"] > 0

    def assert_all_there(self, seconds: float = 60) -> RawTopic:
        """Every byte is in the topic, each once by its place."""
        try:
            eventually(self.all_there, seconds)
        except AssertionError as fault:
            fault.add_note(self.said()[-3000:])
            raise
        for log in self.logs:
            log.close()
        topic = RawTopic(self.flow.records(self.flow.settings.topic_raw))
        assert topic.missing({name: held for log in self.logs for name, held in log.bytes.items()}) == 0
        assert not topic.gaps
        return topic
