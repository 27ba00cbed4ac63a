"""A worker's memory stays below its container's limit, whatever other producers or tenants write to the raw topic."""

import asyncio
import urllib.error

import orjson
import pytest
from aiokafka import AIOKafkaProducer

from pipeline.config.settings import KIB, MIB, Settings
from pipeline.contract import record
from pipeline.contract.record import Grouping, Headers, LogSlice, Segment, SourceFile
from pipeline.kafka import client, consumer_lag
from pipeline.local.process import peak_rss_mib
from tests.integration.flow import Flow, eventually

LIMIT_MIB = 512
"""Of `deploy/base`."""
POD = {"namespace": "shop", "pod": "p", "uid": "u", "container": "c", "restart": 0, "node": "n", "source": "api"}


def make_slice(number: int, line: bytes, size: int, labels: dict[str, str]) -> tuple[bytes, Headers]:
    """Value and headers of a slice of equal lines."""
    value = line * (size // len(line))
    return record.encode(
        LogSlice(
            value=value,
            files=(SourceFile(f"A{number:015d}", "/var/log/pods/p/c/0.log"),),
            segments=(Segment(0, 0, len(value)),),
            node="n",
            read_at=1,
            grouping=Grouping(),
            pod=orjson.dumps({**POD, "labels": labels}),
        )
    )


def produce(settings: Settings, *records: tuple[bytes, Headers], codec: str | None = None) -> None:
    """Send records of any size before compression to the raw topic's partition 0, one batch each."""

    async def send() -> None:
        producer = AIOKafkaProducer(
            **client.connection(settings), compression_type=codec, max_request_size=1 << 30, max_batch_size=1
        )
        await producer.start()
        try:
            for value, headers in records:
                await producer.send_and_wait(settings.topic_raw, value, headers=headers, partition=0)
        finally:
            await producer.stop()

    asyncio.run(send())


def wait_until_committed(flow: Flow, seconds: float = 120) -> None:
    """Wait until the group has committed everything."""

    def is_committed() -> bool:
        assert flow.worker.poll() is None, flow.worker.output.read_text()[-3000:]
        lags = asyncio.run(consumer_lag.read_lag(flow.settings, ages=False)).values()
        return not any(lag.records for lag in lags)

    eventually(is_committed, seconds, every=1)


def assert_within_limit(flow: Flow) -> None:
    assert peak_rss_mib(flow.worker.pid) < LIMIT_MIB


def test_labels_of_24_kib_on_slices_of_short_lines(flow: Flow) -> None:
    labels = {f"label-{number:03d}.example.com/name": "x" * 50 for number in range(300)}
    line = b"2026-11-24T09:42:30.0Z stdout F x\n"
    produce(flow.settings, *(make_slice(number, line, 252 * KIB, labels) for number in range(2)), codec="zstd")
    flow.worker.start()
    wait_until_committed(flow, 240)

    assert_within_limit(flow)


@pytest.mark.parametrize(
    "codec", ["zstd", *(pytest.param(codec, marks=pytest.mark.faults) for codec in ("gzip", "lz4"))]
)
def test_record_of_400_mib_compressed_to_little(flow: Flow, codec: str) -> None:
    produce(flow.settings, (bytes(400 * MIB), []), (b"2026-11-24T09:42:30.0Z stdout F next\n", []), codec=codec)
    flow.worker.start()
    wait_until_committed(flow)

    assert_within_limit(flow)
    assert flow.messages() == ["next"]
    (dead,) = flow.records(flow.settings.topic_dead)
    headers = dict(dead.headers)
    assert headers["dead-source"] == f"{flow.settings.topic_raw}/0/0".encode()
    assert b"unpacks to more than" in headers["dead-reason"]


def count_documents(flow: Flow) -> int:
    try:
        return flow.count()
    except urllib.error.HTTPError:
        return 0


def test_settled_records_behind_one_that_is_not_settled(flow: Flow) -> None:
    """A dead letter that cannot be written delays the acks of all later records, which are indexed meanwhile."""
    flow.configure(CRISP_TOPIC_DEAD=f"{flow.prefix}-missing")
    line = b"2026-11-24T09:42:30.0Z stdout F %b\n" % (b"x" * (64 * KIB))
    slices = [make_slice(number, line, 2 * MIB - 64 * KIB, {}) for number in range(220)]
    produce(flow.settings, (b"x", [("crisp", b"1")]), *slices, codec="zstd")
    flow.worker.start()
    lines = sum(value.count(b"\n") for value, _ in slices)
    eventually(lambda: count_documents(flow) == lines, 240, every=2)

    assert_within_limit(flow)


@pytest.mark.parametrize(
    ("value", "headers"),
    [
        pytest.param(b"x\n", [("crisp", b"1"), ("files", b"[" + b'"' + b"x" * 2 * MIB + b'"' + b"]")], id="header"),
        pytest.param(b"x\n", [("crisp", b"x" * 2 * MIB)], id="header_quoted_in_the_reason"),
        pytest.param(bytes(7 * MIB), [("crisp", b"1"), ("pod", b"x" * MIB)], id="value"),
    ],
)
def test_record_whose_dead_letter_is_too_large(flow: Flow, value: bytes, headers: Headers) -> None:
    value = value.replace(b"\0", b"\xff\0")[: len(value)]
    produce(flow.settings, (value, headers), (b"2026-11-24T09:42:30.0Z stdout F next\n", []), codec="zstd")
    flow.worker.start()
    wait_until_committed(flow, 60)

    assert_within_limit(flow)
    assert flow.messages() == ["next"]
    (dead,) = flow.records(flow.settings.topic_dead)
    assert dict(dead.headers)["dead-source"] == f"{flow.settings.topic_raw}/0/0".encode()
