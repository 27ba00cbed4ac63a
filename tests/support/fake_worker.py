"""Fakes of what a worker's parts get from Faust and from each other; no server, no Faust app."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from faust.types import TP

from pipeline.contract.record import Headers
from pipeline.documents.batch import DocumentBatch
from pipeline.elasticsearch.freshness_probe import FreshnessProbe
from pipeline.monitoring.measurements.traffic import TrafficCounter
from pipeline.monitoring.metric_table import WORKER
from pipeline.monitoring.metrics import Metrics

RAW = TP("logs-raw", 0)


@dataclass(slots=True)
class FakeMessage:
    """A consumed record, with the attributes of Faust's `ConsumerMessage` that the worker reads."""

    offset: int = 0
    value: bytes | None = b""
    headers: Headers | None = None
    key: bytes | None = None
    timestamp: float | None = 1_795_513_350.0
    tp: TP = RAW
    generation_id: int = 1
    checksum: int = 0

    @property
    def topic(self) -> str:
        """The topic."""
        return self.tp.topic

    @property
    def partition(self) -> int:
        """The partition's number."""
        return self.tp.partition


@dataclass(slots=True)
class FakeEvent:
    """Faust's event."""

    message: FakeMessage


class FakeTopic:
    """A Faust topic to which dead letters are sent. Each error of `errors` fails one send: at once, or on delivery."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, bytes, Headers]] = []
        self.errors: deque[tuple[str, Exception]] = deque()
        self.attempts = 0

    def get_topic_name(self) -> str:
        """Return the name."""
        return "logs-dead"

    async def send(self, *, key: bytes, value: bytes, headers: Headers) -> Awaitable[None]:
        """Send a record; the result is done when Kafka has acknowledged it."""
        self.attempts += 1
        stage, error = self.errors.popleft() if self.errors else ("", None)
        delivery: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if error is None:
            self.sent.append((key, value, headers))
            delivery.set_result(None)
        elif stage == "send":
            raise error
        else:
            delivery.set_exception(error)
        return delivery


class FakeIndexer:
    """Holds submitted batches until `complete`."""

    def __init__(self) -> None:
        self.submitted: list[tuple[DocumentBatch, Callable[[], None]]] = []
        self.failing_since: float | None = None
        self.index_resolver = self
        self.problem = ""
        self.stored_index = "logs-earlier"

    async def keep_stored_indices(self, batch: DocumentBatch) -> DocumentBatch:
        """Return the batch with all documents in `stored_index`."""
        return replace(batch, indices=[self.stored_index] * len(batch))

    def submit(self, batch: DocumentBatch, on_complete: Callable[[], None]) -> None:
        """Hold a batch."""
        self.submitted.append((batch, on_complete))

    def complete(self, number: int = 0) -> DocumentBatch:
        """Report a batch as indexed, by its place among those held."""
        batch, on_complete = self.submitted.pop(number)
        on_complete()
        return batch


@dataclass(slots=True)
class FakeMonitor:
    """Records which latencies were observed."""

    consumed: list[bytes] = field(default_factory=list)
    indexed: list[float | None] = field(default_factory=list)
    kafka_unavailable: bool = False
    lag: bool = False
    traffic: TrafficCounter = field(default_factory=lambda: TrafficCounter(Metrics(WORKER), 0.0))

    def observe_consumed(self, value: bytes, partition: int) -> float | None:
        """Observe a consumed record."""
        assert partition >= 0
        self.consumed.append(value)
        return 1.0

    def observe_indexed(self, written_at: float | None, batch: DocumentBatch, probe: FreshnessProbe) -> None:
        """Observe an indexed record."""
        self.indexed.append(written_at)

    def has_lag(self) -> bool:
        """Return the scripted lag."""
        return self.lag


class FakeApp:
    """`WorkerApp` without Faust; `calls` has what was called, in order."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.crashed = False
        self.consuming = True
        self.thread_alive = True
        self.partitions: frozenset[TP] = frozenset()
        self.errors: list[BaseException] = []
        self.stopped = asyncio.Event()
        self.commit_blocks = False

    async def start(self, handler: Any, tasks: Iterable[Callable[[], Awaitable[None]]]) -> None:
        """Start."""
        self.calls.append("start")

    async def stop(self) -> None:
        """Stop."""
        self.calls.append("stop")

    async def wait_until_stopped(self) -> None:
        """Wait for a crash."""
        await self.stopped.wait()

    async def crash(self, error: BaseException) -> None:
        """Crash."""
        self.errors.append(error)
        self.set_crashed()

    def set_crashed(self) -> None:
        """Be crashed from now on."""
        self.crashed = True
        self.stopped.set()

    async def commit(self) -> None:
        """Commit; never ends if `commit_blocks`."""
        self.calls.append("commit")
        if self.commit_blocks:
            await asyncio.Event().wait()

    def pause(self) -> None:
        """Pause."""
        self.calls.append("pause")

    def generation(self) -> int:
        """Return a generation."""
        return 1

    def is_consuming(self) -> bool:
        """Return the scripted state."""
        return self.consuming

    def is_consumer_thread_alive(self) -> bool:
        """Return the scripted state."""
        return self.thread_alive

    def assigned(self) -> frozenset[TP]:
        """Return the scripted assignment."""
        return self.partitions
