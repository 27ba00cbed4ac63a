"""Faust's consumer, simplified: acks arrive in offset order (`ordered_acks`).

Faust 0.15.3 computes the offset to commit from lists of acked offsets and gaps. The result is wrong when the group's
offset is not the log's next one, and every offset of a gap is written into a list. Here the offset to commit is the
one after the last acked record. Jumps of the log are handled: records expired by Kafka's retention are reported, and a
recreated log (a topic deleted and created again) is read from its beginning, which Faust would drop silently.
"""

import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any

import faust
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

from pipeline.config.settings import MIB

FETCH_MAX_BYTES = 16 * MIB
"""Limit of one fetch response; aiokafka's default is 50 MiB, more than half of a worker's memory."""

OnRecordsLost = Callable[[TP, int, ConsumerMessage], None]
"""Called with a partition, an offset and a message: the records between the two expired."""
OnLogReset = Callable[[TP], None]
"""Called with a partition whose log was recreated."""


_LOGGER = logging.getLogger("faust.consumer")
"""Otherwise mode names the loggers after crisp's modules."""


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """The consumer's thread, with a limit on prefetched bytes."""

    logger = _LOGGER

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_bytes = FETCH_MAX_BYTES  # noqa: SLF001 - Faust has no setting for it
        return consumer


class Consumer(driver.Consumer):
    """The consumer of one worker. `install` sets the callbacks."""

    logger = _LOGGER

    on_records_lost: OnRecordsLost
    on_log_reset: OnLogReset

    def on_init(self) -> None:
        """Extend Faust's method: create the next offsets and the offsets to commit."""
        super().on_init()
        self.next_offsets: dict[TP, int] = {}
        self._offsets_to_commit: dict[TP, int] = {}

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def ack(self, message: Any) -> bool:
        """Record that a message is settled; acks arrive in order, so all earlier ones are settled too."""
        if message.acked:
            return False
        message.acked = True
        self._unacked_messages.discard(message)
        self._offsets_to_commit[message.tp] = message.offset + 1
        return True

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        return (tp for tp in list(self._offsets_to_commit) if topics is None or tp in topics or tp.topic in topics)

    def _filter_committable_offsets(self, tps: Iterable[TP]) -> dict[TP, int]:
        return {
            tp: self._offsets_to_commit[tp] for tp in tps if self._offsets_to_commit[tp] != self._committed_offset[tp]
        }

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Extend Faust's method: the next owner repeats what was acked since the last commit."""
        for tp in revoked:
            self._offsets_to_commit.pop(tp, None)
            self.next_offsets.pop(tp, None)
        await super().on_partitions_revoked(revoked)

    async def perform_seek(self) -> None:
        """Extend Faust's method: the next offsets are the group's."""
        await super().perform_seek()
        self.next_offsets = {tp: offset for tp, offset in self._read_offset.items() if offset is not None}

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Any]]:  # noqa: ASYNC109 - Faust's signature
        """Extend Faust's method: handle offsets that jump forwards or backwards."""
        async for tp, message in super().getmany(timeout):
            expected = self.next_offsets.get(tp)
            if expected is not None and message.offset > expected:
                await self._handle_skipped_offsets(tp, expected, message)
            elif expected is not None and message.offset < expected:
                self._offsets_to_commit.pop(tp, None)
                self._committed_offset[tp] = None
                self.on_log_reset(tp)
            self.next_offsets[tp] = message.offset + 1
            self._read_offset[tp] = message.offset  # so that Faust detects neither a gap nor a record to drop
            yield tp, message

    async def _handle_skipped_offsets(self, tp: TP, expected: int, message: Any) -> None:
        """Report expired records; offsets that never were records (a transaction's markers) are not reported."""
        earliest = (await self.earliest_offsets(tp))[tp]
        if earliest > expected:
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


def install(app: faust.App, on_records_lost: OnRecordsLost, on_log_reset: OnLogReset) -> None:
    """Make an app use this transport and consumer; call it before the app is finalized."""
    callbacks = {"on_records_lost": staticmethod(on_records_lost), "on_log_reset": staticmethod(on_log_reset)}
    consumer = type("Consumer", (Consumer,), callbacks)
    app.transport = type("Transport", (Transport,), {"Consumer": consumer})(app.conf.broker_consumer, app)
