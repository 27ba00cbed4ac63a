"""Partitions whose logs change under the group: truncated and written again, set back, added, removed."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import NewPartitions, RecordsToDelete
from aiokafka.structs import OffsetAndMetadata

from pipeline.contract.record import Headers
from pipeline.kafka import client
from pipeline.local.stack import Stack
from pipeline.worker import record_mark
from pipeline.worker.record_mark import RecordMark
from tests.integration.flow import Flow, eventually, flow_with_pages

pytestmark = pytest.mark.faults  # minutes: with the long suites

LINE = b"2026-11-24T09:42:30.%09dZ stdout F %b\n"


INVALID: Headers = [("crisp", b"1")]
ROUTING_RULES = "rules:\n  - name: moved\n    route: infra\n"
NO_RULES = "rules: []\n"


def produce(flow: Flow, *messages: str, partition: int = 0, headers: Headers | None = None) -> None:
    """Write a record of one line for each message to one partition."""

    async def send() -> None:
        async with AIOKafkaProducer(**client.connection(flow.settings)) as producer:
            while partition not in await producer.partitions_for(flow.settings.topic_raw):
                await asyncio.sleep(0.1)
                await producer.client.force_metadata_update()
            for number, message in enumerate(messages):
                line = LINE % (number, message.encode())
                await producer.send_and_wait(flow.settings.topic_raw, line, partition=partition, headers=headers or [])

    asyncio.run(send())


def administer(flow: Flow, act: Callable[[Any], Awaitable[Any]]) -> None:
    """Call an admin client."""

    async def run() -> None:
        async with client.admin_client(flow.settings) as admin:
            await act(admin)

    asyncio.run(run())


def commit(flow: Flow, offset: int, metadata: str = "") -> None:
    """Commit the group's offset of partition 0."""

    async def run() -> None:
        consumer = AIOKafkaConsumer(
            **client.connection(flow.settings), group_id=flow.settings.kafka_group, enable_auto_commit=False
        )
        await consumer.start()
        partition = TopicPartition(flow.settings.topic_raw, 0)
        consumer.assign([partition])
        await consumer.commit({partition: OffsetAndMetadata(offset, metadata)})
        await consumer.stop()

    asyncio.run(run())


def committed(flow: Flow) -> OffsetAndMetadata:
    """The group's offset of partition 0, with its metadata."""

    async def read() -> OffsetAndMetadata:
        async with client.admin_client(flow.settings) as admin:
            offsets = await admin.list_consumer_group_offsets(flow.settings.kafka_group)
            return offsets[TopicPartition(flow.settings.topic_raw, 0)]

    return asyncio.run(read())


def has_messages(flow: Flow, *messages: str) -> bool:
    return flow.count() == len(messages) and sorted(flow.messages()) == sorted(messages)


@pytest.mark.parametrize("known", [1, 8, 12])
def test_log_that_lost_its_end_and_grew_again_is_read_from_its_start(flow: Flow, known: int) -> None:
    """The new log is longer than the group's offset: its records before the offset must not be skipped."""
    produce(flow, *map(str, range(12)))
    commit(flow, known, RecordMark(known - 1, 1_795_513_350_000, 0).metadata)  # of a record that is no longer there
    flow.worker.start()

    eventually(lambda: has_messages(flow, *map(str, range(12))))
    eventually(lambda: committed(flow).offset == 12)
    assert "reading from the beginning" in flow.worker.output.read_text()
    assert record_mark.parse(12, committed(flow).metadata) is not None


@pytest.mark.parametrize("change", [{"CRISP_RETENTION_DAYS": "1"}, {"CRISP_RULES_FILE": "rules"}])
def test_records_indexed_but_not_committed_before_a_change_of_routing_are_not_doubled(
    flow: Flow, tmp_path: Path, change: dict[str, str]
) -> None:
    """The offset is put back to where it was before the last records were indexed, as after a crash."""
    produce(flow, "1")
    flow.run_once(flow.worker)
    before = committed(flow)
    produce(flow, "2", "3")
    flow.run_once(flow.worker)
    commit(flow, before.offset, before.metadata)
    if "CRISP_RULES_FILE" in change:
        rules = tmp_path / "rules.yml"
        rules.write_text(ROUTING_RULES)
        change = {"CRISP_RULES_FILE": str(rules)}
    flow.configure(**change)
    flow.run_once(flow.worker)

    assert has_messages(flow, "1", "2", "3")
    assert "are looked up first" in flow.worker.output.read_text()


def index_without_commit(flow: Flow, *messages: str) -> None:
    """Run a worker that is killed after it indexed records behind one that it cannot settle."""
    flow.configure(CRISP_TOPIC_DEAD=f"{flow.prefix}-absent")
    produce(flow, "invalid", headers=INVALID)
    produce(flow, *messages)
    flow.worker.start()
    eventually(lambda: flow.count({"terms": {"message": messages}}) == len(messages))
    flow.worker.kill()
    flow.configure(CRISP_TOPIC_DEAD=f"{flow.prefix}-dead")


def test_records_indexed_before_the_first_commit_are_not_doubled_by_another_routing(flow: Flow) -> None:
    index_without_commit(flow, "1", "2")
    flow.configure(CRISP_RETENTION_DAYS="1")
    flow.run_once(flow.worker)

    assert has_messages(flow, "1", "2")


def test_first_records_of_a_group_are_not_looked_up(flow: Flow) -> None:
    """Before them the group's start is committed, with the routing."""
    index_without_commit(flow, "1", "2")
    mark = record_mark.parse(0, committed(flow).metadata)
    flow.run_once(flow.worker)

    assert mark is not None
    assert mark.routing
    assert not mark.has_record
    assert has_messages(flow, "1", "2")
    assert "are looked up first" not in flow.worker.output.read_text()


def test_change_of_routing_that_is_taken_back_after_a_crash_doubles_nothing(flow: Flow) -> None:
    """The last commit is of the routing that is in force again; the records after it were indexed under another."""
    produce(flow, "1")
    flow.run_once(flow.worker)
    flow.configure(CRISP_RETENTION_DAYS="1")
    index_without_commit(flow, "2", "3")
    flow.configure(CRISP_RETENTION_DAYS=None)
    flow.run_once(flow.worker)

    assert has_messages(flow, "1", "2", "3")


def test_change_of_routing_by_reloaded_rules_that_is_taken_back_after_a_crash_doubles_nothing(
    flow: Flow, tmp_path: Path
) -> None:
    rules = tmp_path / "rules.yml"
    rules.write_text(NO_RULES)
    flow.configure(CRISP_RULES_FILE=str(rules), CRISP_RULES_POLL_SECONDS="0.2")
    produce(flow, "1")
    flow.run_once(flow.worker)
    flow.configure(CRISP_TOPIC_DEAD=f"{flow.prefix}-absent")
    produce(flow, "invalid", headers=INVALID)
    produce(flow, "2")
    flow.worker.start()
    eventually(lambda: flow.count() == 2)
    rules.write_text(ROUTING_RULES)
    eventually(lambda: "reloaded rules" in flow.worker.output.read_text())
    time.sleep(1)
    produce(flow, "3")
    eventually(lambda: flow.count() == 3)
    flow.worker.kill()
    rules.write_text(NO_RULES)
    flow.configure(CRISP_TOPIC_DEAD=f"{flow.prefix}-dead")
    flow.run_once(flow.worker)

    assert has_messages(flow, "1", "2", "3")
    assert len({hit["_index"] for hit in flow.documents()}) == 2


def test_same_log_is_not_read_again(flow: Flow) -> None:
    produce(flow, "1", "2", "3")
    flow.run_once(flow.worker)
    produce(flow, "4")
    flow.run_once(flow.worker)

    eventually(lambda: has_messages(flow, "1", "2", "3", "4"))
    output = flow.worker.output.read_text()
    assert "reading from the beginning" not in output
    assert "Traceback" not in output


def test_offset_that_was_set_back_before_deleted_records_is_no_loss(flow: Flow) -> None:
    """All records were indexed, then the offset was set back and the records were deleted."""
    produce(flow, *(str(number) for number in range(10)))
    flow.run_once(flow.worker)

    commit(flow, 1)
    partition = TopicPartition(flow.settings.topic_raw, 0)
    administer(flow, lambda admin: admin.delete_records({partition: RecordsToDelete(before_offset=5)}))
    flow.run_once(flow.worker)

    eventually(lambda: has_messages(flow, *(str(number) for number in range(10))))
    output = flow.worker.output.read_text()
    assert not re.search(r"\d+ records .* (expired|lost)", output)
    assert "was set to 1, but its first record is 5" in output


def test_unread_records_that_were_deleted_are_a_loss(flow: Flow) -> None:
    produce(flow, "0", "1")
    flow.run_once(flow.worker)
    produce(flow, *(str(number) for number in range(2, 10)))
    partition = TopicPartition(flow.settings.topic_raw, 0)
    administer(flow, lambda admin: admin.delete_records({partition: RecordsToDelete(before_offset=5)}))
    flow.run_once(flow.worker)

    assert "3 records of" in flow.worker.output.read_text()
    eventually(lambda: flow.count({"term": {"crisp.gap.records": 3}}) == 1)  # searches see a document after a refresh


def test_added_partitions_are_used_without_a_restart(flow: Flow) -> None:
    flow.worker.start()
    produce(flow, "before")
    eventually(lambda: has_messages(flow, "before"))
    administer(flow, lambda admin: admin.create_partitions({flow.settings.topic_raw: NewPartitions(6)}))
    produce(flow, "after", partition=5)

    eventually(lambda: has_messages(flow, "before", "after"), 120)


def test_topic_with_fewer_partitions_is_shipped_and_indexed(stack: Stack, tmp_path: Path) -> None:
    """Slices for partitions that no longer exist are sent to others; nothing waits without end."""
    flow, _, _ = flow_with_pages(stack, tmp_path, CRISP_TOPIC_PARTITIONS="8", CRISP_KUBERNETES="off")
    try:
        logs = [flow.make_container(f"pod-{number}") / "0.log" for number in range(16)]
        flow.shipper.start()
        flow.worker.start()
        _write(logs, 0)
        eventually(lambda: flow.count() == 16, 90)
        administer(flow, lambda admin: admin.delete_topics([flow.settings.topic_raw]))
        _write(logs, 1)
        flow.settings = flow.settings.__class__(**{**vars(flow.settings), "topic_partitions": 2})
        eventually(lambda: "created" in flow.set_up()[0], 30)
        _write(logs, 2)

        eventually(lambda: flow.count() == 48, 150)
    finally:
        flow.stop()


def _write(logs: list[Path], second: int) -> None:
    for log in logs:
        with log.open("ab") as file:
            file.write(b"2026-11-24T09:42:%02d.0Z stdout F line\n" % (30 + second))
