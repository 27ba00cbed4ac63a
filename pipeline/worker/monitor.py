"""A worker's own measurements: consumer lag, latency, history of the last minutes."""

import asyncio
import logging
import time
from collections.abc import Callable

from aiokafka.errors import KafkaError, KafkaTimeoutError

from pipeline.config.settings import WorkerSettings
from pipeline.contract import cri
from pipeline.documents.batch import DocumentBatch
from pipeline.elasticsearch.freshness_probe import FreshnessProbe
from pipeline.kafka.consumer_lag import Lag, LagReader, RetentionUse, retention_use
from pipeline.kafka.error_text import describe_error
from pipeline.monitoring.measurements.history import SAMPLE_SECONDS, History, HistoryMetrics, field_names
from pipeline.monitoring.measurements.last_increase import LastIncrease
from pipeline.monitoring.measurements.load import LoadMeter
from pipeline.monitoring.measurements.traffic import TrafficCounter
from pipeline.monitoring.metrics import Metrics
from pipeline.monitoring.worker_status import (
    Losses,
    PartitionLag,
    WorkerGauges,
    WorkerHistory,
    WorkerLatencies,
    WorkerRates,
)
from pipeline.worker.ordered_acks import OrderedAcker

LATENCY_METRIC = "crisp_worker_latency_seconds"
HISTORY_METRICS = HistoryMetrics(
    "crisp_worker_", field_names(WorkerRates), field_names(WorkerGauges), field_names(WorkerLatencies)
)

REQUEST_TIMEOUT_SECONDS = 30.0
MAX_LAG_DELAY_SECONDS = 10.0
MEAN_RECORDS = 1000

log = logging.getLogger(__name__)

AssignedPartitions = Callable[[], set[int]]
"""Returns the partitions of the raw topic that are assigned to the worker."""


class MeanRecordSize:
    """The mean size of the last records, in bytes; older ones count less."""

    __slots__ = ("_bytes", "_records")

    def __init__(self) -> None:
        self._records, self._bytes = 0, 0

    def add(self, size: int) -> None:
        """Add a record."""
        if self._records >= MEAN_RECORDS:
            self._records, self._bytes = self._records // 2, self._bytes // 2
        self._records += 1
        self._bytes += size

    @property
    def mean(self) -> float:
        """The mean; there is at least one record."""
        return self._bytes / self._records


class WorkerMonitor:
    """Measures one worker. `run` runs as a separate task."""

    def __init__(
        self, settings: WorkerSettings, metrics: Metrics, partitions: AssignedPartitions, acker: OrderedAcker
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._partitions = partitions
        self._acker = acker
        self._history = History(metrics, HISTORY_METRICS)
        self._increases = LastIncrease(
            {
                "gaps": self._gap_count,
                "dead_letters": self._dead_letter_count,
                "id_conflicts": lambda: metrics.get("crisp_worker_documents", result="conflicting"),
            }
        )
        self.load = LoadMeter(metrics)
        self.traffic = TrafficCounter(metrics, time.monotonic())
        self._lags: dict[int, Lag] = {}
        self.lag_measured_at: float | None = None
        """When the lag was last read, in seconds since the epoch; None: never."""
        self._problem = ""
        self._lag_expected_at = time.monotonic() + self._max_lag_age()  # beyond it, the lag is unknown
        self._record_sizes: dict[int, MeanRecordSize] = {}
        self.kafka_unavailable = False
        """The last request to Kafka got no response."""
        metrics.set("crisp_worker_topic_retention_seconds", settings.topic_retention_seconds)

    def observe_consumed(self, value: bytes, partition: int) -> float | None:
        """Observe a consumed record's latency; return its first line's time, in seconds since the epoch, if any."""
        self._record_sizes.setdefault(partition, MeanRecordSize()).add(len(value))
        first_time = cri.first_time(value)
        if first_time is None:
            return None
        self._observe_latency("consumed", first_time / 1e9)
        return first_time / 1e9

    def observe_indexed(self, written_at: float | None, batch: DocumentBatch, probe: FreshnessProbe) -> None:
        """Observe the latency of a record whose documents are indexed, and offer one to the probe."""
        if written_at is None or not batch:
            return
        self._observe_latency("indexed", written_at)
        probe.offer(batch[0], written_at)

    def _observe_latency(self, stage: str, written_at: float) -> None:
        self._metrics.observe(LATENCY_METRIC, max(0.0, time.time() - written_at), stage=stage)

    async def run(self) -> None:
        """Measure until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sample_history())
            group.create_task(self._measure_lag())

    async def _sample_history(self) -> None:
        while True:
            now = time.monotonic()
            self._history.sample(now)
            self.load.sample(now, time.process_time())
            self.traffic.publish(now)
            self._increases.update(time.time())
            await asyncio.sleep(SAMPLE_SECONDS)

    async def _measure_lag(self) -> None:
        """Read the lag periodically; reconnect after an error."""
        while True:
            reader = LagReader(self._settings)
            try:
                async with asyncio.timeout(REQUEST_TIMEOUT_SECONDS):
                    await reader.start()
                while True:
                    # aiokafka waits indefinitely for a group's coordinator
                    async with asyncio.timeout(REQUEST_TIMEOUT_SECONDS):
                        lags = await reader.read(self._partitions(), self._acker.oldest_timestamps())
                    self._set_lags(lags)
                    await asyncio.sleep(self._settings.lag_poll_seconds)
            except (KafkaError, TimeoutError) as error:
                self.kafka_unavailable = isinstance(error, TimeoutError | KafkaTimeoutError) or error.retriable
                self._problem = describe_error(error)
                self._metrics.set("crisp_worker_consumer_lag_unknown", 1)
                log.warning("cannot read consumer lag, retrying: %s", self._problem)
                await asyncio.sleep(self._settings.lag_poll_seconds)
            finally:
                await reader.stop()

    def _max_lag_age(self) -> float:
        return self._settings.lag_poll_seconds + MAX_LAG_DELAY_SECONDS

    @property
    def lag_problem(self) -> str:
        """Why the lag is unknown; empty while it is known, or is being read for the first time."""
        late = time.monotonic() - self._lag_expected_at
        return self._problem or (f"Kafka has not answered for {late + MAX_LAG_DELAY_SECONDS:.0f} s" if late > 0 else "")

    def _set_lags(self, lags: dict[int, Lag]) -> None:
        self._lags = lags
        self._problem, self.kafka_unavailable = "", False
        self.lag_measured_at, self._lag_expected_at = time.time(), time.monotonic() + self._max_lag_age()
        self._metrics.set("crisp_worker_consumer_lag_unknown", 0)
        self._metrics.set("crisp_worker_assigned_partitions", len(lags))
        for name, values in {
            "records": {number: float(lag.records) for number, lag in lags.items()},
            "bytes": {number: self._lag_bytes(number, lag) for number, lag in lags.items()},
            "seconds": {number: lag.seconds for number, lag in lags.items() if lag.seconds is not None},
            "retention_ratio": {
                number: use.ratio
                for number, lag in lags.items()
                if (use := self._retention_use(number, lag)).ratio is not None
            },
        }.items():
            by_label = {str(number): value for number, value in values.items()}
            self._metrics.replace(f"crisp_worker_consumer_lag_{name}", "partition", by_label)

    def _lag_bytes(self, partition: int, lag: Lag) -> float:
        """Estimate the lag in bytes, which Kafka does not report: records times the mean size of consumed ones.

        By partition, since one container may fill one with large records; else the mean of all partitions.
        """
        size = self._record_sizes.get(partition)
        if size is not None:
            return round(lag.records * size.mean)
        records = self._metrics.total("crisp_worker_records_received")
        return round(lag.records * self._metrics.get("crisp_worker_received_bytes") / records) if records else 0.0

    def _gap_count(self) -> float:
        lost = self._metrics.get("crisp_worker_records_lost")
        return self._metrics.get("crisp_worker_records_received", kind="gap") + lost

    def _dead_letter_count(self) -> float:
        documents = self._metrics.get("crisp_worker_documents", result="dead_lettered")
        return self._metrics.get("crisp_worker_records_received", kind="invalid") + documents

    def has_lag(self) -> bool:
        """Return whether Kafka has uncommitted records; False also when the lag is unknown."""
        return not self._problem and any(lag.records for lag in self._lags.values())

    def lag(self) -> tuple[PartitionLag, ...]:
        """Return the lag of each assigned partition."""
        return tuple(
            PartitionLag(
                number,
                lag.records,
                int(self._lag_bytes(number, lag)),
                lag.seconds,
                lag.first,
                lag.end,
                lag.begin,
                *self._retention_use(number, lag),
            )
            for number, lag in sorted(self._lags.items())
        )

    def _retention_use(self, partition: int, lag: Lag) -> RetentionUse:
        return retention_use(lag, self._lag_bytes(partition, lag), self._settings)

    def losses(self) -> Losses:
        """Return the expired records, and the times of the last gap, dead letter and conflict of ids."""
        increases = self._increases.snapshot()
        expired = int(self._metrics.get("crisp_worker_records_lost"))
        return Losses(expired, increases["gaps"], increases["dead_letters"], increases["id_conflicts"])

    def history(self) -> WorkerHistory:
        """Return the rates, gauges and latencies of the last minutes."""
        history = self._history.snapshot()
        return WorkerHistory(
            SAMPLE_SECONDS,
            WorkerRates(**history.rates),
            WorkerGauges(**history.gauges),
            WorkerLatencies(**history.latency),
        )
