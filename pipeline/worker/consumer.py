"""Faust's consumer, simplified: acks arrive in offset order (`ordered_acks`).

Faust 0.15.3 computes the offset to commit from lists of acked offsets and gaps. The result is wrong when the group's
offset is not the log's next one, and every offset of a gap is written into a list. Here the offset to commit is the
one after the last acked record. Jumps of the log are handled: records expired by Kafka's retention are reported, and a
recreated log (a topic deleted and created again) is read from its beginning, which Faust would drop silently.
"""

import logging
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator
from typing import Any

import faust
from aiokafka.errors import CommitFailedError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

from pipeline.config.settings import MIB
from pipeline.worker import record_mark
from pipeline.worker.record_mark import RecordMark

FETCH_MAX_BYTES = 16 * MIB
"""Limit of one fetch response; aiokafka's default is 50 MiB, more than half of a worker's memory."""

OnRecordsLost = Callable[[TP, int, ConsumerMessage], None]
"""Called with a partition, an offset and a message: the records between the two expired."""
OnLogReset = Callable[[TP], None]
"""Called with a partition whose log was recreated."""
OnRerouted = Callable[[TP, int], None]
"""Called with a partition and its end: records before that may have been indexed, in other indices."""


log = logging.getLogger(__name__)

_LOGGER = logging.getLogger("faust.consumer")
"""Otherwise mode names the loggers after crisp's modules."""


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """The consumer's thread, with a limit on prefetched bytes. It commits marks with the offsets, and reads them."""

    logger = _LOGGER
    consumer: "Consumer"

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_bytes = FETCH_MAX_BYTES  # noqa: SLF001 - Faust has no setting for it
        commit = self._commit_with_metadata = consumer.commit

        async def commit_with_marks(offsets: dict[Any, OffsetAndMetadata]) -> None:
            metadata = self.consumer.commit_metadata
            await commit(
                {tp: OffsetAndMetadata(entry.offset, metadata(tp, entry.offset)) for tp, entry in offsets.items()}
            )

        consumer.commit = commit_with_marks  # Faust commits without metadata
        return consumer

    async def seek_to_marks(self) -> dict[TP, RecordMark | None]:
        """Seek to the last settled record of each partition that has its mark, or to the group's start.

        Return the marks of all partitions with a committed offset; None if a worker did not commit it.
        """
        return await self.call_thread(self._seek_to_marks)  # type: ignore[no-any-return] # mode has no types for it

    async def hide_routing(self, tps: Collection[TP]) -> None:
        """Commit the group's offsets of partitions again, with marks without a routing. Not while Faust commits."""
        await self.call_thread(self._hide_routing, tps)

    async def _hide_routing(self, tps: Collection[TP]) -> None:
        marks = await self._read_marks()
        offsets = {
            TopicPartition(*tp): OffsetAndMetadata(mark.offset + 1, mark._replace(routing="").metadata)
            for tp, mark in marks.items()
            if tp in tps and mark is not None and mark.routing
        }
        await self._commit_marks(offsets)

    async def commit_start(self, tps: Collection[TP], routing: str) -> dict[TP, int]:
        """Commit, for partitions without an offset of the group, where it starts; return these offsets.

        None if the group rebalances. Not while Faust commits.
        """
        return await self.call_thread(self._commit_start, tps, routing)  # type: ignore[no-any-return] # as below

    async def _commit_start(self, tps: Collection[TP], routing: str) -> dict[TP, int]:
        starts = await self._ensure_consumer().beginning_offsets([TopicPartition(*tp) for tp in tps])
        for tp, start in starts.items():
            self._ensure_consumer().seek(tp, start)  # it may stand elsewhere since before a rebalance
        metadata = {tp: record_mark.mark_start(start, routing).metadata for tp, start in starts.items()}
        committed = await self._commit_marks({tp: OffsetAndMetadata(starts[tp], metadata[tp]) for tp in starts})
        return {TP(*tp): start for tp, start in starts.items()} if committed else {}

    async def _commit_marks(self, offsets: dict[TopicPartition, OffsetAndMetadata]) -> bool:
        try:
            if offsets:
                await self._commit_with_metadata(offsets)
        except CommitFailedError as error:  # the group rebalances: it is done again for what is assigned then
            log.info("the group rebalances: %s", error)
            return False
        return True

    async def end_offsets(self, tps: list[TP]) -> dict[TP, int]:
        """Return the offsets after the last records of partitions."""
        return await self.call_thread(self._end_offsets, tps)  # type: ignore[no-any-return] # as above

    async def _end_offsets(self, tps: list[TP]) -> dict[TP, int]:
        ends = await self._ensure_consumer().end_offsets([TopicPartition(*tp) for tp in tps])
        return {TP(*tp): offset for tp, offset in ends.items()}

    async def _seek_to_marks(self) -> dict[TP, RecordMark | None]:
        marks = await self._read_marks()
        for tp, mark in marks.items():
            if mark is not None:
                # To the group's start, too: Faust does not seek to a committed offset of 0, and would read on from
                # where the consumer stood before the rebalance.
                offset = mark.offset if mark.has_record else mark.offset + 1
                self._ensure_consumer().seek(TopicPartition(*tp), offset)
        return marks

    async def _read_marks(self) -> dict[TP, RecordMark | None]:
        consumer = self._ensure_consumer()
        tps = consumer.assignment()
        committed = await consumer._coordinator.fetch_committed_offsets(tps) if tps else {}  # noqa: SLF001
        return {
            TP(*tp): record_mark.parse(entry.offset, entry.metadata or "")
            for tp, entry in committed.items()
            if entry.offset >= 0 and tp in consumer.assignment()
        }


class Consumer(driver.Consumer):
    """The consumer of one worker. `install` sets the callbacks."""

    logger = _LOGGER

    on_records_lost: OnRecordsLost
    on_log_reset: OnLogReset
    on_rerouted: OnRerouted
    routing: Callable[[], str]
    _thread: ConsumerThread

    def on_init(self) -> None:
        """Extend Faust's method: create what is known of each partition."""
        super().on_init()
        self.next_offsets: dict[TP, int] = {}
        self._settled: dict[TP, RecordMark] = {}
        self._committing: dict[TP, RecordMark] = {}
        self._last_marks: dict[TP, RecordMark] = {}
        self._unverified: dict[TP, RecordMark] = {}
        self._epochs: dict[TP, int] = {}
        self._set_offsets: dict[TP, int | None] = {}  # committed by another program: an operator set them
        self._is_rerouting = False

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def set_settled(self, tp: TP, mark: RecordMark) -> None:
        """Record that a record and all earlier ones of its partition are settled; their offset is committed next."""
        self._settled[tp] = mark

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        return (tp for tp in list(self._settled) if topics is None or tp in topics or tp.topic in topics)

    def _filter_committable_offsets(self, tps: Iterable[TP]) -> dict[TP, int]:
        if self._is_rerouting:
            return {}
        self._committing = {tp: self._settled[tp] for tp in tps}
        offsets = {tp: mark.offset + 1 for tp, mark in self._committing.items()}
        return {tp: offset for tp, offset in offsets.items() if offset != self._committed_offset[tp]}

    def commit_metadata(self, tp: Any, offset: int) -> str:
        """Return the metadata to commit with an offset; without a routing that has changed since."""
        mark = self._committing.get(TP(*tp))
        if mark is None or mark.offset + 1 != offset:
            return ""
        return (mark if mark.routing == self.routing() else mark._replace(routing="")).metadata

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Extend Faust's method: the next owner repeats what was acked since the last commit."""
        for tp in revoked:
            self._forget(tp)
        await super().on_partitions_revoked(revoked)

    def _forget(self, tp: TP) -> None:
        known: tuple[dict[TP, Any], ...] = (
            self._settled,
            self.next_offsets,
            self._last_marks,
            self._unverified,
            self._epochs,
            self._set_offsets,
        )
        for by_partition in known:
            by_partition.pop(tp, None)

    async def perform_seek(self) -> None:
        """Extend Faust's method: the next offsets are the group's; the record before each is read and verified."""
        await super().perform_seek()
        self.next_offsets = {tp: offset for tp, offset in self._read_offset.items() if offset is not None}
        self._last_marks.clear()
        self._epochs.clear()
        marks = await self._thread.seek_to_marks()
        self._unverified = {tp: mark for tp, mark in marks.items() if mark is not None and mark.has_record}
        self._set_offsets = {tp: self.next_offsets.get(tp) for tp, mark in marks.items() if mark is None}
        started = await self._start([tp for tp in self.assignment() if tp not in marks])
        await self._find_rerouted({tp: marks.get(tp) for tp in self.assignment() - started})

    async def _start(self, tps: list[TP]) -> set[TP]:
        """Commit where the group starts in partitions that it has not read; return those of which that succeeded.

        The commit has the routing: a crash before the first record is settled is like any later one.
        """
        starts = await self._thread.commit_start(tps, "" if self._is_rerouting else self.routing()) if tps else {}
        self.next_offsets |= starts
        return set() if self._is_rerouting else set(starts)

    async def _find_rerouted(self, marks: dict[TP, RecordMark | None]) -> None:
        """Report the partitions whose records may have been indexed, but not committed, under another routing.

        From now on they may be indexed under this one too, so no commit may name either before all are committed.
        """
        routing = "" if self._is_rerouting else self.routing()
        rerouted = [tp for tp, mark in marks.items() if mark is None or not routing or mark.routing != routing]
        if rerouted:
            await self._thread.hide_routing(rerouted)
            await self._report_rerouted(rerouted)

    async def _report_rerouted(self, tps: list[TP]) -> None:
        for tp, end in (await self._thread.end_offsets(tps)).items():
            if end > (self.next_offsets.get(tp) or 0):
                self.on_rerouted(tp, end)

    async def change_routing(self, change: Callable[[], None]) -> None:
        """Call `change`, which changes the routing, when no committed mark has one: a crash may come at any time."""
        self._is_rerouting = True  # no commits meanwhile
        try:
            await self.commit()  # waits for one in progress
            await self._thread.hide_routing(self.assignment())
            change()
        finally:
            self._is_rerouting = False

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        """Extend Faust's method: `checksum` is the record's leader epoch before, and its checksum afterwards."""
        message = super()._to_message(tp, record)
        self._epoch = -1 if record.checksum is None else record.checksum
        message.checksum = record_mark.checksum(message)  # type: ignore[assignment] # Kafka's was bytes once
        return message

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Any]]:  # noqa: ASYNC109 - Faust's signature
        """Extend Faust's method: verify that the log is the one that was read, and handle offsets that jump."""
        dropped = set[TP]()
        async for tp, message in super().getmany(timeout):
            if tp in dropped:
                continue
            if await self._must_drop(tp, message):
                if tp not in self.next_offsets or tp in self._unverified:
                    dropped.add(tp)  # sought elsewhere: the records after it, too
                continue
            expected = self.next_offsets.get(tp)
            if expected is not None and message.offset > expected:
                await self._handle_skipped_offsets(tp, expected, message)
            elif expected is not None and message.offset < expected:
                await self._reset(tp)
            self._set_position(tp, message)
            yield tp, message

    def _set_position(self, tp: TP, message: Any) -> None:
        self.next_offsets[tp] = message.offset + 1
        self._last_marks[tp] = record_mark.mark(message)
        self._epochs[tp] = self._epoch
        self._read_offset[tp] = message.offset  # so that Faust detects neither a gap nor a record to drop

    async def _must_drop(self, tp: TP, message: Any) -> bool:
        """Verify that the record before this one is still the one that was read. Return whether to drop this record.

        That record is read again after a seek, and when the leader epoch rises: a new leader may lack records, and
        have written others since. If it is another record now, the partition is read from its beginning.
        """
        mark = self._unverified.pop(tp, None)
        if mark is None:
            last = self._last_marks.get(tp)
            if last is None or self._epoch <= self._epochs.get(tp, self._epoch) or message.offset != last.offset + 1:
                return False
            self._unverified[tp] = last
            self._epochs[tp] = self._epoch
            await self._thread.call_thread(self._seek_in_thread, tp, last.offset)
            return True
        if message.offset != mark.offset:
            return False
        if mark.is_same_record(record_mark.mark(message)):
            self._last_marks[tp] = mark
            self.next_offsets[tp] = mark.offset + 1
            return True
        await self._reset(tp)
        await self._thread.seek_to_beginning(TopicPartition(*tp))
        return True

    async def _seek_in_thread(self, tp: TP, offset: int) -> None:
        self._thread.seek(TopicPartition(*tp), offset)

    async def _reset(self, tp: TP) -> None:
        """Handle that the log of a partition is another one than was read; it may have records that were read."""
        self._forget(tp)
        self._committed_offset[tp] = None
        self.on_log_reset(tp)
        await self._report_rerouted([tp])

    async def _handle_skipped_offsets(self, tp: TP, expected: int, message: Any) -> None:
        """Report expired records; offsets that never were records (a transaction's markers) are not reported.

        After an operator set the offset, nobody knows whether the records had been indexed before.
        """
        earliest = (await self.earliest_offsets(tp))[tp]
        if earliest > expected and self._set_offsets.get(tp) == expected:
            log.warning(
                "the offset of %s/%d was set to %d, but its first record is %d; it is not known whether the records "
                "between them were indexed before",
                *tp,
                expected,
                earliest,
            )
        elif earliest > expected:
            self.on_records_lost(tp, expected, message)

    def is_thread_alive(self) -> bool:
        """Return whether the Kafka client's thread is running."""
        thread = self._thread._thread  # noqa: SLF001 - mode has no public name for it
        return thread is not None and thread.is_alive()

    def kafka_clients(self) -> list[Any]:
        """Return the aiokafka clients of the started consumer."""
        return [self._thread._ensure_consumer()._client]  # noqa: SLF001


class Transport(driver.Transport):
    """Faust's transport with this `Consumer`."""

    Consumer = Consumer


def install(
    app: faust.App,
    on_records_lost: OnRecordsLost,
    on_log_reset: OnLogReset,
    on_rerouted: OnRerouted,
    routing: Callable[[], str],
) -> None:
    """Make an app use this transport and consumer; call it before the app is finalized."""
    callbacks = {
        "on_records_lost": staticmethod(on_records_lost),
        "on_log_reset": staticmethod(on_log_reset),
        "on_rerouted": staticmethod(on_rerouted),
        "routing": staticmethod(routing),
    }
    consumer = type("Consumer", (Consumer,), callbacks)
    app.transport = type("Transport", (Transport,), {"Consumer": consumer})(app.conf.broker_consumer, app)
