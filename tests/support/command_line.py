"""The command line in this process, on fakes: `crisp` with its settings, its output, and what the servers have."""

import gc
import time
from typing import NamedTuple

import orjson
import pytest
from aiokafka import TopicPartition

from pipeline.cli import main
from pipeline.config.environment import load_settings
from pipeline.config.settings import Settings
from pipeline.contract import record
from pipeline.contract.record import Grouping, LogSlice, Segment, SourceFile
from pipeline.monitoring import log
from pipeline.parsing import timestamp
from tests.support.fake_elasticsearch import FakeElasticsearch
from tests.support.fake_kafka import FakeKafka, Record

POD = {
    "namespace": "shop",
    "pod": "pay-1",
    "uid": "0f0f0f0f-0000-0000-0000-000000000001",
    "container": "pay",
    "node": "node-1",
    "labels": {"app": "pay"},
}
PATH = f"/var/log/pods/shop_pay-1_{POD['uid']}/pay/0.log"


class Result(NamedTuple):
    """Exit code and output of a command."""

    code: int
    out: str
    err: str


class CommandLine:
    """`crisp`, with a Kafka and an Elasticsearch in memory."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.kafka = FakeKafka(monkeypatch)
        self.elasticsearch = FakeElasticsearch()
        self.elasticsearch.install(monkeypatch)
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        monkeypatch.setattr(log, "configure_cli", lambda *_: None)  # the handlers of this process stay
        monkeypatch.setattr(gc, "freeze", lambda: None)
        monkeypatch.setattr(gc, "set_threshold", lambda *_: None)
        self.configure(CRISP_TOPIC_PARTITIONS="2", CRISP_RETRY_MAX_SECONDS="0.1", COLUMNS="400")

    def configure(self, **environment: str) -> None:
        """Set environment variables."""
        for name, value in environment.items():
            self._monkeypatch.setenv(name, value)

    @property
    def settings(self) -> Settings:
        """The settings of the next command."""
        return load_settings()

    def __call__(self, *arguments: str) -> Result:
        """Run a command; argparse's exits have a code too."""
        self._capsys.readouterr()
        try:
            code = main.main(list(arguments))
        except SystemExit as error:
            code = int(error.code or 0)
        return Result(code, *self._capsys.readouterr())

    def set_up(self) -> None:
        """Run `crisp setup`."""
        result = self("setup", "--quiet")
        assert result == (0, "", ""), result

    def commit(self) -> None:
        """Commit all records of the raw topic for the workers' group."""
        topic = self.settings.topic_raw
        logs = enumerate(self.kafka.topics[topic].partitions)
        ends = {TopicPartition(topic, number): len(log) for number, log in logs}
        self.kafka.committed[self.settings.kafka_group] = ends

    def add_slice(self, *messages: str, offset: int = 0, first_line: bytes = b"first", age: float = 600.0) -> Record:
        """Store a slice of one line for each message in the raw topic; `age` in seconds."""
        written = time.time_ns() - int(age * 10**9)
        lines = [f"{timestamp.format_utc(written + number)} stdout F {text}\n" for number, text in enumerate(messages)]
        value = "".join(lines).encode()
        identity = record.identity(POD["uid"], "pay", 0, first_line)  # type: ignore[arg-type]
        log_slice = LogSlice(
            value=value,
            files=(SourceFile(identity, PATH),),
            segments=(Segment(0, offset, len(value)),),
            node="node-1",
            read_at=written + 10**6,
            grouping=Grouping(),
            pod=orjson.dumps(POD),
        )
        value, headers = record.encode(log_slice)
        return self.kafka.append(self.settings.topic_raw, value, headers, timestamp=written // 10**6 + 2)
