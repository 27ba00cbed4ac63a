"""Records are settled when their documents are indexed or they are dead-lettered; memory is bounded meanwhile."""

import asyncio
from typing import Any, cast

import orjson
import pytest

from pipeline.config.settings import Settings
from pipeline.contract import dead_letter, pod_metadata, record
from pipeline.contract.bundle import Bundle, expand
from pipeline.contract.pod_metadata import Instance
from pipeline.contract.record import Grouping, Headers, KafkaPosition, LogSlice, Segment, SourceFile
from pipeline.documents.batch import DocumentBatch
from pipeline.documents.record_processor import RecordProcessor
from pipeline.documents.slice_builder import SliceBuilder
from pipeline.grouping.event import Event
from pipeline.kafka.record_batches import UnreadableBatch
from pipeline.monitoring.metric_table import WORKER
from pipeline.monitoring.metrics import Metrics
from pipeline.monitoring.worker_status import ContainerTraffic, NamespaceTraffic
from pipeline.worker.background_tasks import BackgroundTasks
from pipeline.worker.dead_letter_producer import DeadLetterProducer
from pipeline.worker.memory_budget import MemoryBudget
from pipeline.worker.ordered_acks import OrderedAcker
from pipeline.worker.record_handler import RecordHandler
from pipeline.worker.record_mark import RecordMark
from pipeline.worker.worker_health import WorkerHealth
from tests.support.fake_worker import RAW, FakeApp, FakeEvent, FakeIndexer, FakeMessage, FakeMonitor, FakeTopic

LINE = b"2026-11-24T09:42:30.0Z stdout F hello\n"
INVALID: Headers = [("crisp", b"1")]


def slice_record() -> tuple[bytes, Headers]:
    """Value and headers of a slice of two lines."""
    value = 2 * LINE
    return record.encode(
        LogSlice(
            value=value,
            files=(SourceFile("AAAAAAAAAAAAAAAA", "/var/log/pods/p/c/0.log"),),
            segments=(Segment(0, 0, len(value)),),
            node="n-1",
            read_at=1,
            grouping=Grouping(),
            pod=pod_metadata.from_path(Instance("shop", "pay-1", "u-1", "pay", 0), "n-1"),
        )
    )


def bundle_record(*damage: tuple[bytes, bytes]) -> tuple[bytes, Headers]:
    """Value and headers of a bundle of three slices, with replacements in its table."""
    building = Bundle(1 << 18)
    for number in range(3):
        files = (SourceFile(f"AAAAAAAAAAAAAAA{number}", f"/var/log/pods/p/c{number}/0.log"),)
        pod = pod_metadata.from_path(Instance("shop", f"pay-{number}", f"u-{number}", "pay", 0), "n-1")
        segments = (Segment(0, number, 2 * len(LINE)),)
        log_slice = LogSlice(2 * LINE, files, segments, "n-1", 1 + number, Grouping(), pod)
        assert building.add(b"u-%d/pay/0" % number, log_slice)
    value, headers = building.encode()
    table = dict(headers)["parts"]
    for old, new in damage:
        assert table.count(old) == 1
        table = table.replace(old, new)
    return value, [(name, table if name == "parts" else data) for name, data in headers]


class Parts:
    """A handler with fakes around it."""

    def __init__(self, budget: int = 1 << 20, part_bytes: int = 1 << 18) -> None:
        self.app = FakeApp()
        self.indexer = FakeIndexer()
        self.monitor = FakeMonitor()
        self.topic = FakeTopic()
        self.metrics = Metrics(WORKER)
        self.budget = MemoryBudget(budget)
        self.marks: list[RecordMark] = []
        self.acker = OrderedAcker(self.app.generation, lambda _, mark: self.marks.append(mark))
        dead_letters = DeadLetterProducer(cast(Any, self.topic), 0.01, 1 << 20)
        self.health = WorkerHealth(
            cast(Any, self.app), self.budget, cast(Any, self.monitor), cast(Any, self.indexer), dead_letters
        )
        self.handler = RecordHandler(
            processor=RecordProcessor(Settings()),
            indexer=cast(Any, self.indexer),
            dead_letter_producer=dead_letters,
            acker=self.acker,
            budget=self.budget,
            monitor=cast(Any, self.monitor),
            probe=cast(Any, None),
            health=self.health,
            tasks=BackgroundTasks(self.app.crash),
            metrics=self.metrics,
            part_bytes=part_bytes,
        )

    @property
    def acked(self) -> list[int]:
        """The offsets of the acked records."""
        return [mark.offset for mark in self.marks]

    def event(self, offset: int, value: bytes | None, headers: Headers | None) -> Any:
        """A consumed record."""
        return FakeEvent(FakeMessage(offset, value, headers, key=b"key"))

    async def handle(self, offset: int, value: bytes | None, headers: Headers | None) -> None:
        """Handle a record."""
        await self.handler.handle(self.event(offset, value, headers))


@pytest.fixture
def parts() -> Parts:
    return Parts()


async def test_slice_is_acked_when_its_documents_are_indexed(parts: Parts) -> None:
    value, headers = slice_record()
    await parts.handle(5, value, headers)

    assert parts.acked == []
    assert parts.budget.used > len(value)
    batch = parts.indexer.complete()
    assert len(batch.to_hits()) == 2
    assert parts.acked == [5]
    assert parts.budget.used == 0
    assert parts.monitor.consumed == [value]
    assert parts.monitor.indexed == [1.0]
    assert parts.metrics.get("crisp_worker_records_received", kind="slice") == 1
    assert parts.metrics.get("crisp_worker_received_lines") == 2
    parts.monitor.traffic.publish(1.0)
    assert parts.monitor.traffic.current.containers == (ContainerTraffic("shop", "pay", 2, len(value)),)
    assert batch.metadata_missing == 0
    assert parts.metrics.get("crisp_worker_in_flight_bytes") == 0


async def test_events_of_pods_whose_metadata_did_not_arrive_are_counted(parts: Parts) -> None:
    value, headers = slice_record()
    pod = pod_metadata.mark_metadata_missing(dict(headers)["pod"])
    await parts.handle(5, value, [(name, pod if name == "pod" else data) for name, data in headers])

    assert parts.indexer.complete().metadata_missing == 2


async def test_records_that_may_be_indexed_elsewhere_are_looked_up(parts: Parts) -> None:
    parts.handler.on_rerouted(RAW, 7)
    for offset in (5, 6, 7, 8):
        await parts.handle(offset, *slice_record())

    batches = [set(parts.indexer.complete().indices) for _ in range(4)]
    assert [batch == {parts.indexer.stored_index} for batch in batches] == [True, True, False, False]
    assert parts.acked == [5, 6, 7, 8]
    assert [bool(mark.routing) for mark in parts.marks] == [False, False, True, True]


async def test_records_indexed_out_of_order_are_acked_in_order(parts: Parts) -> None:
    for offset in range(3):
        await parts.handle(offset, *slice_record())

    parts.indexer.complete(2)
    assert parts.acked == []
    parts.indexer.complete(0)
    assert parts.acked == [0]
    parts.indexer.complete(0)
    assert parts.acked == [0, 2]  # the ack of a record is that of all before it


async def test_bundle_is_acked_when_the_documents_of_all_its_parts_are_indexed(parts: Parts) -> None:
    value, headers = bundle_record()
    await parts.handle(5, value, headers)

    assert parts.acked == []
    batch = parts.indexer.complete()
    assert parts.acked == [5]
    assert parts.budget.used == 0
    hits = batch.to_hits()
    assert [hit["_id"] for hit in hits] == [
        f"AAAAAAAAAAAAAAA{number}-{number + line * len(LINE):010x}" for number in range(3) for line in range(2)
    ]
    assert [hit["_source"]["kubernetes.pod.name"] for hit in hits[::2]] == ["pay-0", "pay-1", "pay-2"]
    assert parts.metrics.get("crisp_worker_records_received", kind="slice") == 1
    assert parts.metrics.get("crisp_worker_received_lines") == 6
    parts.monitor.traffic.publish(1.0)
    assert parts.monitor.traffic.current.namespaces == (NamespaceTraffic("shop", 6, len(value)),)


async def test_documents_of_a_bundle_are_those_of_its_slices_as_records_of_their_own(parts: Parts) -> None:
    value, headers = bundle_record()
    origin = KafkaPosition("logs-raw", 0, 7, 1_795_000_000_000)
    together, kind = parts.handler.processor.process(value, headers, origin, 1)
    alone = [parts.handler.processor.process(*entry, origin, 1)[0] for entry in expand(value, headers)]

    assert kind == "slice"
    assert together.to_hits() == [hit for batch in alone for hit in batch.to_hits()]
    assert [together.headers_of(document.id) for document in together] == [
        batch.headers for batch in alone for _ in batch
    ]
    assert together.select([4]).headers_of(together[4].id) == alone[2].headers


async def test_invalid_part_of_a_bundle_is_dead_lettered_alone_as_a_record_of_its_own(parts: Parts) -> None:
    value, headers = bundle_record((b"0:1+76", b"0:1+77x"))
    await parts.handle(7, value, headers)

    assert parts.acked == []
    assert len(parts.indexer.complete().to_hits()) == 4
    await parts.acker.wait_until_empty()
    assert parts.acked == [7]
    assert parts.budget.used == 0
    ((key, sent, sent_headers),) = parts.topic.sent
    assert (key, sent) == (b"u-1/pay/0", 2 * LINE)
    letter = dead_letter.decode(sent, sent_headers)
    assert "header segments: b'0:1+77x'" in letter.reason
    mended = [(name, b"0:1+76" if name == "segments" else data) for name, data in letter.headers]
    (whole,) = [part for number, part in enumerate(expand(*bundle_record())) if number == 1]
    assert [name for name, _ in mended] == [name for name, _ in whole[1]]
    assert parts.metrics.get("crisp_worker_records_received", kind="invalid") == 1


async def test_part_of_a_bundle_on_which_crisp_fails_is_dead_lettered_alone(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = parts.handler.processor._builder.build_in_parts

    def fail_on_second(log_slice: LogSlice, *rest: Any) -> Any:
        if log_slice.read_at == 2:
            raise KeyError("boom")
        return build(log_slice, *rest)

    monkeypatch.setattr(parts.handler.processor._builder, "build_in_parts", fail_on_second)
    await parts.handle(7, *bundle_record())
    assert len(parts.indexer.complete().to_hits()) == 4
    await parts.acker.wait_until_empty()

    assert parts.acked == [7]
    ((key, sent, sent_headers),) = parts.topic.sent
    assert (key, sent) == (b"u-1/pay/0", 2 * LINE)
    assert "internal error of crisp" in dict(sent_headers)["dead-reason"].decode()
    monkeypatch.undo()
    letter = dead_letter.decode(sent, sent_headers)
    batch, _ = parts.handler.processor.process(letter.value, letter.headers, letter.origin, 1)
    assert len(batch) == 2  # a retry indexes it


async def test_bundle_that_cannot_be_divided_is_dead_lettered_whole(parts: Parts) -> None:
    value, headers = bundle_record((b"u-1/pay/0 ", b""))
    await parts.handle(7, value, headers)
    await parts.acker.wait_until_empty()

    assert parts.acked == [7]
    assert parts.indexer.submitted == []
    ((_, sent, sent_headers),) = parts.topic.sent
    assert sent == value
    assert dead_letter.decode(sent, sent_headers).headers == headers


async def test_record_of_another_shipper_without_value_or_time_is_acked(parts: Parts) -> None:
    event = FakeEvent(FakeMessage(0, None, None, timestamp=None))
    await parts.handler.handle(cast(Any, event))
    parts.indexer.complete()

    assert parts.acked == [0]
    assert parts.metrics.get("crisp_worker_records_received", kind="third_party") == 1


async def test_invalid_record_is_acked_when_it_is_dead_lettered(parts: Parts) -> None:
    await parts.handle(7, LINE, INVALID)

    assert parts.acked == []
    assert parts.indexer.submitted == []
    await parts.acker.wait_until_empty()
    assert parts.acked == [7]
    assert parts.budget.used == 0
    ((key, value, headers),) = parts.topic.sent
    assert (key, value) == (b"key", LINE)
    assert dict(headers)
    assert parts.metrics.get("crisp_worker_records_received", kind="invalid") == 1


async def test_unexpected_error_of_dead_lettering_crashes_and_acks_nothing(parts: Parts) -> None:
    parts.topic.errors.append(("send", RuntimeError("bug")))
    await parts.handle(7, LINE, INVALID)
    await asyncio.wait_for(parts.app.stopped.wait(), 5)

    assert [str(error) for error in parts.app.errors] == ["bug"]
    assert parts.acked == []


async def test_record_waits_until_the_memory_budget_allows_it() -> None:
    value, headers = slice_record()
    parts = Parts(budget=len(value) + 1, part_bytes=1 << 14)
    await parts.handle(0, value, headers)
    second = asyncio.create_task(parts.handle(1, value, headers))
    await asyncio.sleep(0.01)

    assert len(parts.indexer.submitted) == 1
    parts.indexer.complete()
    await second
    assert len(parts.indexer.submitted) == 1


async def test_record_in_parts_is_acked_when_the_last_part_is_indexed() -> None:
    parts = Parts(part_bytes=1)  # a part for each event
    await parts.handle(5, *slice_record())

    assert len(parts.indexer.submitted) == 2
    parts.indexer.complete(1)
    assert parts.acked == []
    parts.indexer.complete()
    assert parts.acked == [5]
    assert parts.budget.used == 0
    assert parts.metrics.get("crisp_worker_records_received", kind="slice") == 1


async def test_part_is_not_built_before_the_memory_budget_allows_it() -> None:
    value, headers = slice_record()
    parts = Parts(budget=len(value) + 1, part_bytes=1)
    handling = asyncio.create_task(parts.handle(5, value, headers))
    await asyncio.sleep(0.01)

    assert len(parts.indexer.submitted) == 1
    assert not handling.done()
    parts.indexer.complete()
    await asyncio.sleep(0.01)
    assert len(parts.indexer.submitted) == 1
    parts.indexer.complete()
    await handling
    assert parts.acked == [5]


async def test_headers_count_in_the_memory_budget(parts: Parts) -> None:
    await parts.handle(5, b"", [("other", bytes(1000))])

    assert parts.budget.used >= 1005
    parts.indexer.complete()
    assert parts.budget.used == 0


async def test_record_that_fails_after_some_parts_is_acked_after_them_and_its_dead_letter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parts = Parts(part_bytes=1)
    built = SliceBuilder._build_part

    def build_once(builder: SliceBuilder, events: list[Event]) -> DocumentBatch:
        monkeypatch.setattr(SliceBuilder, "_build_part", fail)
        return built(builder, events)

    monkeypatch.setattr(SliceBuilder, "_build_part", build_once)
    await parts.handle(5, *slice_record())
    await asyncio.sleep(0.01)

    assert len(parts.topic.sent) == 1
    assert parts.acked == []
    parts.indexer.complete()
    assert parts.acked == [5]
    assert parts.budget.used == 0


def fail(*_: object) -> DocumentBatch:
    raise KeyError("boom")


async def test_paused_handler_processes_no_more_records(parts: Parts) -> None:
    value, headers = slice_record()
    await parts.handle(0, value, headers)
    parts.handler.pause()
    second = asyncio.create_task(parts.handle(1, value, headers))
    await asyncio.sleep(0.01)

    assert not second.done()
    assert parts.acker.pending() == 1
    parts.indexer.complete()
    assert parts.acked == [0]
    second.cancel()


@pytest.mark.parametrize("timestamp", [1_795_513_350.0, None])
async def test_lost_records_are_indexed_as_a_gap_before_later_records_are_acked(
    parts: Parts, timestamp: float | None
) -> None:
    message = FakeMessage(12, timestamp=timestamp)
    parts.handler.on_records_lost(RAW, 4, message)
    await parts.handle(12, *slice_record())

    parts.indexer.complete(1)
    assert parts.acked == []
    gap = parts.indexer.complete()
    assert parts.acked == [12]
    assert parts.metrics.get("crisp_worker_records_lost") == 8
    (source,) = [hit["_source"] for hit in gap.to_hits()]
    assert b"8 records" in orjson.dumps(source) or source["crisp.gap.records"] == 8


async def test_pending_records_of_a_recreated_partition_are_never_acked(parts: Parts) -> None:
    await parts.handle(1000, *slice_record())
    parts.handler.on_log_reset(RAW)
    parts.indexer.complete()

    assert parts.acked == []
    assert parts.metrics.get("crisp_worker_partition_resets") == 1


async def test_pending_records_of_an_older_generation_are_never_acked(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    await parts.handle(3, *slice_record())
    parts.acker._current_generation = lambda: 2
    parts.handler.on_partitions_revoked()
    parts.indexer.complete()

    assert parts.acked == []
    assert parts.acker.pending() == 0


@pytest.mark.parametrize("redact", [(), ("jwt",)])
async def test_batch_that_cannot_be_unpacked_is_dead_lettered(redact: tuple[str, ...], parts: Parts) -> None:
    parts.handler.processor = RecordProcessor(Settings(redact=redact))
    batch = UnreadableBatch(b"packed")
    batch.reason, batch.first, batch.complete = "too large", 3, True
    await parts.handle(7, batch, [])
    await parts.acker.wait_until_empty()

    assert parts.acked == [7]
    assert parts.budget.used == 0
    ((_, value, headers),) = parts.topic.sent
    assert value == (b"" if redact else b"packed")
    assert dict(headers)["dead-source"] == b"logs-raw/0/3"
    assert dict(headers)["dead-reason"] == b"batch of the records 3 to 7: too large"
    assert dict(headers)["dead-incomplete"] == (b"its bytes" if redact else b"unpacked records")
