"""What a worker measures of itself beside its work: lag, ages of lines, the last minutes."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from aiokafka.errors import KafkaError, KafkaTimeoutError

from pipeline.config.settings import Settings
from pipeline.contract import cri
from pipeline.elasticsearch.freshness_probe import Probe
from pipeline.kafka.consumer_lag import GroupLag, Lag
from pipeline.monitoring.history import EVERY_SECONDS, History, Watched
from pipeline.monitoring.last_increase import Rises
from pipeline.monitoring.metrics import Metrics
from pipeline.worker.ordered_acks import OrderedAcker

AGES = "crisp_worker_latency_seconds"
WATCHED = Watched(
    ("crisp_worker_records_received", "crisp_worker_received_bytes", "crisp_worker_events", "crisp_worker_documents"),
    ("crisp_worker_consumer_lag_records", "crisp_worker_in_flight_bytes"),
    AGES,
    ("consumed", "indexed", "searchable"),
)

ANSWER_SECONDS = 30.0

log = logging.getLogger(__name__)

Partitions = Callable[[], set[int]]
"""The partitions of the raw topic that the worker has now."""


class Watch:
    """One worker's measures. `run` is a task of its own."""

    def __init__(self, settings: Settings, metrics: Metrics, partitions: Partitions, acker: OrderedAcker) -> None:
        self._settings = settings
        self._metrics = metrics
        self._partitions = partitions
        self._acker = acker
        self._history = History(metrics, WATCHED)
        self._rises = Rises({"gaps": self._gaps, "dead": self._dead})
        self._lags: dict[int, Lag] = {}
        self.trouble = ""
        self.away = False
        """Kafka did not answer when it was last asked."""
        metrics.set("crisp_worker_topic_retention_seconds", settings.topic_retention_seconds)

    def written(self, value: bytes) -> float | None:
        """When the first line of a record was written, in seconds since the epoch, where it tells; counts as taken."""
        moment = cri.first_time(value)
        if moment is None:
            return None
        self._aged("consumed", moment / 1e9)
        return moment / 1e9

    def settled(self, written: float | None, documents: list[bytes], probe: Probe) -> None:
        """A record's documents are indexed."""
        if written is None or not documents:
            return
        self._aged("indexed", written)
        probe.offer(documents[0], written)

    def _aged(self, stage: str, written: float) -> None:
        self._metrics.observe(AGES, max(0.0, time.time() - written), stage=stage)

    async def run(self) -> None:
        """Measure until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sample())
            group.create_task(self._measure())

    async def _sample(self) -> None:
        while True:
            self._history.sample(time.monotonic())
            self._rises.look(time.time())
            await asyncio.sleep(EVERY_SECONDS)

    async def _measure(self) -> None:
        """Ask for the lag again and again; with a new connection after a fault."""
        while True:
            lag = GroupLag(self._settings)
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    await lag.start()
                while True:
                    async with asyncio.timeout(ANSWER_SECONDS):  # aiokafka waits for ever for a group's coordinator
                        lags = await lag.read(self._partitions(), self._acker.oldest())
                    self._note(lags)
                    await asyncio.sleep(self._settings.lag_poll_seconds)
            except (KafkaError, TimeoutError) as fault:
                self.away = isinstance(fault, TimeoutError | KafkaTimeoutError) or fault.retriable
                self.trouble = f"the lag cannot be read: {fault!r}"
                log.warning("the lag cannot be read, tried again: %r", fault)
                await asyncio.sleep(self._settings.lag_poll_seconds)
            finally:
                await lag.stop()

    def _note(self, lags: dict[int, Lag]) -> None:
        self._lags = lags
        self.trouble, self.away = "", False
        self._metrics.set("crisp_worker_assigned_partitions", len(lags))
        for name, values in {
            "records": {number: float(lag.records) for number, lag in lags.items()},
            "bytes": {number: self._bytes(lag) for number, lag in lags.items()},
            "seconds": {number: lag.seconds for number, lag in lags.items() if lag.seconds is not None},
        }.items():
            by_label = {str(number): value for number, value in values.items()}
            self._metrics.replace(f"crisp_worker_consumer_lag_{name}", "partition", by_label)

    def _bytes(self, lag: Lag) -> float:
        """Kafka does not tell bytes: the records' number by the mean size of those that came."""
        records = self._metrics.total("crisp_worker_records_received")
        return round(lag.records * self._metrics.get("crisp_worker_received_bytes") / records) if records else 0.0

    def _gaps(self) -> float:
        lost = self._metrics.get("crisp_worker_records_lost")
        return self._metrics.get("crisp_worker_records_received", outcome="gap") + lost

    def _dead(self) -> float:
        documents = self._metrics.get("crisp_worker_documents", result="dead_lettered")
        return self._metrics.get("crisp_worker_records_received", kind="invalid") + documents

    def behind(self) -> bool:
        """Whether Kafka has records that are not committed; False also when it does not say."""
        return not self.trouble and any(lag.records for lag in self._lags.values())

    def facts(self) -> dict[str, Any]:
        """For `/status.json`."""
        return {
            "lag": [
                {
                    "partition": number,
                    "records": lag.records,
                    "bytes": int(self._bytes(lag)),
                    "seconds": lag.seconds,
                    "committed": lag.first,
                    "end": lag.end,
                    "held_from": lag.begin,
                }
                for number, lag in sorted(self._lags.items())
            ],
            "lag_trouble": self.trouble,
            "risen": self._rises.facts(),
            "history": self._history.facts(),
        }
