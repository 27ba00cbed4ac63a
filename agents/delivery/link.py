"""The link to Kafka: one producer at a time, its connection, diagnosis and replacement.

An unresponsive Kafka is diagnosed: if the brokers are reachable, the producer is stuck and must be replaced.
"""

import asyncio
import contextlib
import enum
import functools
import logging
import math
import time
from collections.abc import Awaitable, Callable

from aiokafka.errors import KafkaError

from agents.delivery.bundle_keys import BundleKeys
from agents.delivery.in_flight import InFlightBytes
from agents.delivery.producer import DeliveryCallback, Producer, RecordProducer
from pipeline.backoff import Backoff
from pipeline.config.settings import ShipperSettings
from pipeline.contract.record import Headers
from pipeline.errors import SettingsError
from pipeline.kafka import client

RETRY_SECONDS = 1.0
MAX_RETRY_SECONDS = 15.0
CONNECT_TIMEOUT_SECONDS = 20.0
STOP_SECONDS = 10.0
WATCH_SECONDS = 2.0
UNRESPONSIVE_SECONDS = 10.0
STALLED_SECONDS = 60.0

log = logging.getLogger(__name__)


class LinkState(enum.Enum):
    """State of the current producer."""

    CONNECTING = "it is not connected yet"
    CONNECTED = "records can be sent"
    FAILED = "it must be replaced"


class KafkaLink:
    """Sends records through the current producer, and reports the responses of that one only.

    While `state` is FAILED, call `close`, then `reconnect`.
    """

    def __init__(
        self,
        settings: ShipperSettings,
        stopping: asyncio.Event,
        create_producer: Callable[[ShipperSettings, int], Producer] = RecordProducer,
        connection_problem: Callable[[ShipperSettings, str], Awaitable[str]] = client.connection_problem,
    ) -> None:
        self._state = LinkState.CONNECTING
        # The limit is two slices: per partition the client has one request in flight, and one that waits.
        self.in_flight = InFlightBytes(settings.inflight_max_bytes, 2 * settings.slice_max_bytes)
        self.last_active = math.inf  # monotonic time of the last attempt to connect or close; inf: none yet
        self._settings = settings
        self._stopping = stopping
        self._create_producer = create_producer
        self._connection_problem = connection_problem
        self._producer = create_producer(settings, settings.slice_max_bytes)
        self._generation = 0  # of the producer: later responses of earlier ones count for nothing
        self._backoff = Backoff(RETRY_SECONDS, MAX_RETRY_SECONDS)
        self._unavailable = "not connected to Kafka yet"
        self._rejection = ""
        self._leaderless = ""
        self._leaderless_partitions: list[int] = []  # with records in flight, while others have a leader
        self._bundle_keys: BundleKeys | None = None

    @property
    def state(self) -> LinkState:
        """The state of the current producer."""
        return self._state

    @property
    def problem(self) -> str:
        """Why records do not reach Kafka; empty if they do."""
        return self._unavailable or self._rejection or self._leaderless

    async def connect(self) -> None:
        """Connect; retry until it succeeds or the shipper stops."""
        while not self._stopping.is_set():
            self.last_active = time.monotonic()
            problem = await self._connect()
            if not problem:
                self._unavailable = ""
                self._state = LinkState.CONNECTED
                return
            self._unavailable = f"cannot use Kafka: {problem}"
            log.warning("%s; retrying until it succeeds", self._unavailable)
            await self._sleep(RETRY_SECONDS)

    async def _connect(self) -> str:
        """Connect; return why that failed, empty if it succeeded."""
        settings = self._settings
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
                problem = await self._connection_problem(settings, settings.topic_raw)
                if not problem:
                    self.in_flight.assign(await self._producer.start())
                return problem
        except TimeoutError:
            return f"no response within {CONNECT_TIMEOUT_SECONDS:.0f} s"
        except (KafkaError, SettingsError) as error:
            return client.explain_error(settings, settings.topic_raw, error)

    async def _sleep(self, seconds: float) -> None:
        """Sleep, but no longer than until the shipper stops."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    def next_bundle_key(self) -> bytes:
        """Return the key of the next bundle: partitions that have a leader, respond, and have capacity take turns."""
        partitions, held = self.in_flight.partitions, self.held_partitions()
        if self._bundle_keys is None or self._bundle_keys.partitions != partitions:
            self._bundle_keys = BundleKeys(self._settings.node_name, partitions)
        return self._bundle_keys.next(
            lambda partition, key: (
                partition not in held and self.in_flight.has_capacity(key) and self._producer.has_leader(partition)
            )
        )

    def held_partitions(self) -> set[int]:
        """Return the partitions that do not respond, or have no leader, while others do and have one."""
        return {*self.in_flight.held_partitions(), *self._leaderless_partitions}

    def send(self, key: bytes, value: bytes, headers: Headers, on_delivery: DeliveryCallback) -> None:
        """Send a record; `on_delivery` is called once, unless the link is closed before Kafka responds."""
        size = len(value)
        self.in_flight.add(key, size)
        self._producer.send(
            key, value, headers, functools.partial(self._on_response, self._generation, key, size, on_delivery)
        )

    def _on_response(
        self, generation: int, key: bytes, size: int, on_delivery: DeliveryCallback, error: BaseException | None
    ) -> None:
        if generation != self._generation:
            return
        self.in_flight.release(key, size)
        if error is None:
            self._unavailable = self._rejection = ""
            self._backoff.reset()
        else:
            self._state = LinkState.FAILED
        on_delivery(error)

    def report_rejection(self, message: str) -> None:
        """Show why Kafka rejects records, until it accepts one."""
        self._rejection = message

    async def close(self) -> int:
        """Stop the producer; return the bytes that were neither acknowledged nor rejected."""
        self._state = LinkState.FAILED
        self.last_active = time.monotonic()
        await self._producer.stop(min(STOP_SECONDS, self._settings.ship_grace_seconds))
        self._generation += 1
        return self.in_flight.reset()

    async def reconnect(self, batch_bytes: int) -> None:
        """Connect a new producer after a back-off; `batch_bytes`: size of its largest slice."""
        self._producer = self._create_producer(self._settings, batch_bytes)
        self._state = LinkState.CONNECTING
        await self._sleep(self._backoff.next_pause())
        await self.connect()

    async def stop(self, grace_seconds: float) -> None:
        """Flush and disconnect for good."""
        await self._producer.stop(grace_seconds)

    def reload(self) -> None:
        """Reload changed secrets and certificates."""
        self._producer.reload()

    async def watch(self) -> None:
        """Diagnose an unresponsive Kafka, until cancelled."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            await self.check()

    async def check(self) -> None:
        """Report partitions without a leader, and diagnose an unresponsive Kafka."""
        if self._state is not LinkState.CONNECTED:
            self._leaderless, self._leaderless_partitions = "", []
            return
        if self._has_other_partitions():
            self._state = LinkState.FAILED
            return
        self._check_leaders()
        if self._unresponsive_seconds() > UNRESPONSIVE_SECONDS:
            await self._diagnose()

    def _has_other_partitions(self) -> bool:
        """Return whether partitions were added, or the topic was created again with fewer.

        Records for partitions that no longer exist would wait for a leader without end.
        """
        now, before = self._producer.partitions(), self.in_flight.partitions
        if not now or now == before:
            return False
        topic = self._settings.topic_raw
        log.warning("%s has %d partitions now, before %d: replacing the producer", topic, len(now), len(before))
        return True

    def _find_leaderless(self) -> list[int]:
        return [number for number in self.in_flight.waiting_partitions() if not self._producer.has_leader(number)]

    def _unresponsive_seconds(self) -> float:
        """Return for how long a partition that has a leader has not responded, in seconds."""
        return self.in_flight.unresponsive_seconds(self._find_leaderless())

    def _check_leaders(self) -> None:
        """Report partitions without a leader; the others are unaffected."""
        leaderless = self._find_leaderless()
        have_leader = leaderless and any(map(self._producer.has_leader, self.in_flight.partitions))
        self._leaderless_partitions = leaderless if have_leader else []
        partitions = leaderless if self.in_flight.unresponsive_seconds() > UNRESPONSIVE_SECONDS else []
        listed = ", ".join(map(str, partitions))
        message = f"no leader in {self._settings.topic_raw} for partition {listed}: records wait" if partitions else ""
        if message and message != self._leaderless:
            log.warning("%s", message)
        self._leaderless = message

    async def _diagnose(self) -> None:
        generation = self._generation
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
                problem = await self._connection_problem(self._settings, self._settings.topic_raw)
        except TimeoutError:
            problem = f"no response within {CONNECT_TIMEOUT_SECONDS:.0f} s"
        except SettingsError as error:
            problem = str(error)
        if generation != self._generation or self._state is not LinkState.CONNECTED:
            return
        seconds = self._unresponsive_seconds()
        if seconds < UNRESPONSIVE_SECONDS:
            return
        if problem:
            self._unavailable = f"Kafka has not answered for {seconds:.0f} s: {problem}"
            log.warning("Kafka is unresponsive, reading is paused: %s", problem)
        elif seconds > STALLED_SECONDS:
            self._rejection = f"Kafka is reachable, but has not answered for {seconds:.0f} s"
            log.error("%s: replacing the producer", self._rejection)
            self._state = LinkState.FAILED
