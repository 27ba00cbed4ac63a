"""Faust's consumer, made simple and safe by acks that come in order (`acks`).

Faust 0.15.3 keeps lists of acked offsets and of gaps to find out what may be committed, gets it wrong when the group's
offset is not the log's next one, and writes every offset of a gap into a list. Here the offset to commit is the one
after the last record acked, and a log that jumps is looked at: what Kafka's retention took is reported, and a log that
begins anew (a topic deleted and made again) is read from its beginning, which Faust would drop without a word.
"""

import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any

import faust
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

from pipeline.config.settings import MIB

FETCH_MAX_BYTES = 16 * MIB
"""Of one answer of a broker; aiokafka's own limit is 50 MiB, more than half of what a worker may have."""

OnRecordsLost = Callable[[TP, int, ConsumerMessage], None]
"""Told that the records from an offset up to a message's are gone from the log."""
OnLogReset = Callable[[TP], None]
"""Told that a partition's log has begun anew."""


_LOGGER = logging.getLogger("faust.consumer")
"""Else mode names loggers after modules of ours."""


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """The consumer's thread, with a bound on what is fetched ahead."""

    logger = _LOGGER

    def _create_worker_consumer(self, transport: Any) -> Any:
        made = super()._create_worker_consumer(transport)
        made._fetch_max_bytes = FETCH_MAX_BYTES  # noqa: SLF001 - Faust does not hand it on
        return made


class Consumer(driver.Consumer):
    """One worker's consumer. `lost` and `anew` are set by the worker."""

    logger = _LOGGER

    on_records_lost: OnRecordsLost
    on_log_reset: OnLogReset

    def on_init(self) -> None:
        """As Faust's, and where each partition stands: the offset to come, the offset to commit."""
        super().on_init()
        self.next_offsets: dict[TP, int] = {}
        self._offsets_to_commit: dict[TP, int] = {}

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def ack(self, message: Any) -> bool:
        """Note a record as settled; acks come in order, so those before it are."""
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
        """As Faust's: what was acked since the last commit is done again by the next owner."""
        for tp in revoked:
            self._offsets_to_commit.pop(tp, None)
            self.next_offsets.pop(tp, None)
        await super().on_partitions_revoked(revoked)

    async def perform_seek(self) -> None:
        """As Faust's, to the group's offsets."""
        await super().perform_seek()
        self.next_offsets = {tp: offset for tp, offset in self._read_offset.items() if offset is not None}

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Any]]:  # noqa: ASYNC109 - Faust names it
        """As Faust's, but for the jumps that a log can make."""
        async for tp, message in super().getmany(timeout):
            expected = self.next_offsets.get(tp)
            if expected is not None and message.offset > expected:
                await self._handle_skipped_offsets(tp, expected, message)
            elif expected is not None and message.offset < expected:
                self._offsets_to_commit.pop(tp, None)
                self._committed_offset[tp] = None
                self.on_log_reset(tp)
            self.next_offsets[tp] = message.offset + 1
            self._read_offset[tp] = message.offset  # so that Faust sees neither a gap nor a record to drop
            yield tp, message

    async def _handle_skipped_offsets(self, tp: TP, expected: int, message: Any) -> None:
        """Offsets are missing: taken by the retention, or never records at all (a transaction's marks)."""
        earliest = (await self.earliest_offsets(tp))[tp]
        if earliest > expected:
            self.on_records_lost(tp, expected, message)

    def is_thread_alive(self) -> bool:
        """Whether the thread that speaks to Kafka still runs."""
        thread = self._thread._thread  # noqa: SLF001 - mode has no name for it
        return thread is not None and thread.is_alive()


class Transport(driver.Transport):
    """Faust's transport with this consumer."""

    Consumer = Consumer


def install(app: faust.App, on_records_lost: OnRecordsLost, on_log_reset: OnLogReset) -> None:
    """Make an app use it; before the app is finalized."""
    made = type("Consumer", (Consumer,), {"lost": staticmethod(on_records_lost), "anew": staticmethod(on_log_reset)})
    app.transport = type("Transport", (Transport,), {"Consumer": made})(app.conf.broker_consumer, app)
