"""The link to Kafka: connection, replacement, diagnosis; with a producer in memory."""

import asyncio
import dataclasses

import pytest
from aiokafka.errors import OutOfOrderSequenceNumber

from agents.delivery import in_flight, link
from agents.delivery.link import KafkaLink, LinkState
from agents.delivery.producer import DeliveryCallback
from pipeline.backoff import Backoff
from pipeline.config.settings import KafkaSettings, Settings
from pipeline.contract.record import Headers
from pipeline.errors import SettingsError
from tests.support.fake_producer import FakeTopic

SETTINGS = dataclasses.replace(Settings(), ship_grace_seconds=0.1)


class Clock:
    """A manual monotonic clock."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Scene:
    """A link to a fake topic. `problem`: what the check of the connection finds; raised if it is an exception."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.topic = FakeTopic(3)
        self.problem: str | Exception = ""
        self.stopping = asyncio.Event()
        self.errors: list[BaseException | None] = []
        self.link = KafkaLink(SETTINGS, self.stopping, self.topic.create_producer, self.check)

    async def check(self, _settings: KafkaSettings, topic: str) -> str:
        assert topic == SETTINGS.topic_raw
        await asyncio.sleep(0)
        if isinstance(self.problem, Exception):
            raise self.problem
        return self.problem

    def send(self, value: bytes = b"x", key: bytes = b"key") -> None:
        self.link.send(key, value, [], self.errors.append)

    async def wait_unresponsive(self, seconds: float, problem: str | Exception = "") -> None:
        """Connect, send a record to a broker that does not respond, and diagnose after a while."""
        await self.link.connect()
        self.problem = problem
        self.topic.holding = True
        self.send()
        self.clock.now += seconds
        await self.link.check()


@pytest.fixture
async def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    clock = Clock()
    monkeypatch.setattr(in_flight, "time", clock)
    for name in ("RETRY_SECONDS", "MAX_RETRY_SECONDS"):
        monkeypatch.setattr(link, name, 0.01)
    return Scene(clock)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_connected_link_has_no_problem_and_delivers(scene: Scene) -> None:
    assert scene.link.problem == "not connected to Kafka yet"
    await scene.link.connect()
    scene.send()
    await settle()

    assert scene.link.state is LinkState.CONNECTED
    assert (scene.link.problem, scene.errors, scene.link.in_flight.total) == ("", [None], 0)


@pytest.mark.parametrize(
    ("problem", "shown"),
    [
        ("no such topic", "no such topic"),
        (SettingsError(["no password"]), "no password"),
        (TimeoutError(), "no response within"),
    ],
)
async def test_connection_is_retried_until_it_succeeds(scene: Scene, problem: str | Exception, shown: str) -> None:
    scene.problem = problem
    connecting = asyncio.create_task(scene.link.connect())
    await asyncio.sleep(0.005)
    assert f"cannot use Kafka: {shown}" in scene.link.problem
    assert scene.link.state is LinkState.CONNECTING
    scene.problem = ""
    await connecting

    assert scene.link.problem == ""


async def test_unreachable_broker_is_a_problem(scene: Scene) -> None:
    scene.topic.reachable = False
    connecting = asyncio.create_task(scene.link.connect())
    await asyncio.sleep(0.005)
    assert "no broker is reachable" in scene.link.problem
    scene.stopping.set()
    await connecting

    assert scene.link.state is LinkState.CONNECTING


async def test_rejected_record_fails_the_link_until_it_is_replaced(scene: Scene) -> None:
    await scene.link.connect()
    scene.topic.error = OutOfOrderSequenceNumber()
    scene.send()
    await settle()
    scene.link.report_rejection("rejected")
    assert scene.link.state is LinkState.FAILED
    assert scene.link.problem == "rejected"

    scene.topic.error = None
    assert await scene.link.close() == 0
    await scene.link.reconnect(1234)
    scene.send()
    await settle()

    assert (scene.link.state, scene.link.problem) == (LinkState.CONNECTED, "")
    assert [producer.batch_bytes for producer in scene.topic.producers] == [SETTINGS.slice_max_bytes, 1234]
    assert [type(error) for error in scene.errors] == [OutOfOrderSequenceNumber, type(None)]


async def test_response_after_the_replacement_counts_for_nothing(scene: Scene) -> None:
    await scene.link.connect()
    first = scene.topic.producers[0]
    callbacks: list[DeliveryCallback] = []

    def send(key: bytes, value: bytes, headers: Headers, on_delivery: DeliveryCallback) -> None:
        callbacks.append(on_delivery)

    first.send = send  # type: ignore[method-assign]
    scene.send(b"four")

    assert await scene.link.close() == 4
    await scene.link.reconnect(1)
    callbacks[0](None)

    assert scene.errors == []
    assert scene.link.in_flight.total == 0


async def test_backoff_doubles_with_each_failure_and_ends_with_an_acknowledgement(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(scene.link, "_backoff", Backoff(1.0, 15.0, lambda: 1.0))
    monkeypatch.setattr(scene.link, "_sleep", sleep)
    await scene.link.connect()
    for _ in range(6):
        await scene.link.close()
        await scene.link.reconnect(1)
    scene.send()
    await settle()
    await scene.link.close()
    await scene.link.reconnect(1)

    assert pauses == [1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 1.0]


async def test_unresponsive_and_unreachable_broker_is_shown_until_it_responds(scene: Scene) -> None:
    await scene.wait_unresponsive(11, "connection refused")
    assert scene.link.problem == "Kafka has not answered for 11 s: connection refused"
    assert scene.link.state is LinkState.CONNECTED

    scene.topic.release()

    assert scene.link.problem == ""


@pytest.mark.parametrize("problem", [TimeoutError(), SettingsError(["no password"])])
async def test_failed_check_of_an_unresponsive_broker_is_a_problem(scene: Scene, problem: Exception) -> None:
    await scene.wait_unresponsive(11, problem)

    assert "Kafka has not answered for 11 s" in scene.link.problem


async def test_stuck_producer_of_a_reachable_broker_fails_the_link(scene: Scene) -> None:
    await scene.wait_unresponsive(59)
    assert scene.link.state == LinkState.CONNECTED
    scene.clock.now += 2
    await scene.link.check()

    assert (scene.link.state, scene.link.problem) == (
        LinkState.FAILED,
        "Kafka is reachable, but has not answered for 61 s",
    )


async def test_responsive_broker_is_not_diagnosed(scene: Scene) -> None:
    await scene.wait_unresponsive(9, "not called")

    assert scene.link.problem == ""


async def test_response_during_the_diagnosis_ends_it(scene: Scene) -> None:
    await scene.link.connect()
    scene.topic.holding = True
    scene.send()
    scene.clock.now += 61
    diagnosing = asyncio.create_task(scene.link.check())
    await asyncio.sleep(0)
    scene.topic.release()
    await diagnosing

    assert (scene.link.state, scene.link.problem) == (LinkState.CONNECTED, "")


async def test_replacement_during_the_diagnosis_ends_it(scene: Scene) -> None:
    await scene.link.connect()
    scene.topic.holding = True
    scene.send()
    scene.clock.now += 61
    diagnosing = asyncio.create_task(scene.link.check())
    await asyncio.sleep(0)
    await scene.link.close()
    await diagnosing

    assert scene.link.problem == ""


async def test_partition_without_leader_is_shown_and_does_not_fail_the_link(scene: Scene) -> None:
    await scene.link.connect()
    scene.topic.leaderless = {0, 1, 2}
    scene.send()
    scene.clock.now += 100
    await scene.link.check()
    (partition,) = scene.link.in_flight.waiting_partitions()
    shown = f"no leader in {SETTINGS.topic_raw} for partition {partition}: records wait"
    assert (scene.link.state, scene.link.problem) == (LinkState.CONNECTED, shown)

    scene.topic.leaderless = set()
    scene.topic.release()
    await scene.link.check()

    assert scene.link.problem == ""


@pytest.mark.parametrize("partitions", [1, 6])
async def test_changed_number_of_partitions_fails_the_link(scene: Scene, partitions: int) -> None:
    """The records in flight are sent again by a producer that knows the partitions."""
    await scene.link.connect()
    scene.topic.holding = True
    scene.send()
    scene.topic.partitions = partitions
    await scene.link.check()

    assert scene.link.state.name == "FAILED"
    await scene.link.close()
    await scene.link.reconnect(SETTINGS.slice_max_bytes)
    await scene.link.check()
    assert scene.link.state is LinkState.CONNECTED
    assert scene.link.in_flight.partitions == list(range(partitions))


async def test_unknown_partitions_do_not_fail_the_link(scene: Scene) -> None:
    await scene.link.connect()
    scene.topic.reachable = False
    await scene.link.check()

    assert scene.link.state is LinkState.CONNECTED


async def test_watch_checks_until_it_is_cancelled(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "WATCH_SECONDS", 0.001)
    await scene.link.connect()
    scene.topic.holding = True
    scene.send()
    scene.clock.now += 61
    watching = asyncio.create_task(scene.link.watch())
    async with asyncio.timeout(30):
        while scene.link.state is not LinkState.FAILED:  # noqa: ASYNC110 - the link has no event for its state
            await asyncio.sleep(0.001)
    watching.cancel()
    await asyncio.wait({watching})

    assert watching.cancelled()


async def test_stop_flushes_and_its_responses_count(scene: Scene) -> None:
    await scene.link.connect()
    scene.link.reload()
    scene.send()
    await scene.link.stop(1)

    assert scene.errors == [None]
    assert scene.topic.producers[0].reloads == 1
