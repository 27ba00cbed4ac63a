"""What Kafka answers when it is not well, or not as we want it: nothing is lost, nothing stands still for ever, and
what is to be done is told in a line that names the setting."""

import asyncio
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from pipeline.config.settings import record_max_bytes
from pipeline.kafka import client
from pipeline.local.process import peak_rss_mib
from pipeline.local.stack import Stack
from pipeline.operations.setup import setup
from tests.faults import thread
from tests.faults.node import Node
from tests.integration import broker as brokers
from tests.integration.broker import PASSWORD, TOPIC, Broker
from tests.integration.flow import Flow, eventually
from tests.integration.test_status import get

pytestmark = [pytest.mark.faults, pytest.mark.timeout(400)]
short = pytest.mark.short

SHIPPER_MIB = 64
_random = random.Random(11)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with brokers.temporary_broker(tmp_path_factory.mktemp("kafka"), ["shipper"]) as broker:
        yield broker


async def create_small_topic(flow: Flow, most_bytes: int) -> None:
    """The raw topic, but that it takes less than ours."""
    admin = AIOKafkaAdminClient(**client.connection(flow.settings))
    await admin.start()
    try:
        configs = {setup.MAX_MESSAGE_BYTES: str(most_bytes)}
        await admin.create_topics([NewTopic(flow.settings.topic_raw, 3, 1, topic_configs=configs)])
    finally:
        await admin.close()


async def set_message_limit(flow: Flow, most_bytes: int) -> None:
    """Have the topic take as much."""
    admin = AIOKafkaAdminClient(**client.connection(flow.settings))
    await admin.start()
    try:
        topic = ConfigResource(
            ConfigResourceType.TOPIC, flow.settings.topic_raw, {setup.MAX_MESSAGE_BYTES: str(most_bytes)}
        )
        await admin.alter_configs([topic])
    finally:
        await admin.close()


async def delete_topic(flow: Flow) -> None:
    admin = AIOKafkaAdminClient(**client.connection(flow.settings))
    await admin.start()
    try:
        await admin.delete_topics([flow.settings.topic_raw])
    finally:
        await admin.close()


def raw_bytes(node: Node) -> bytes:
    return b"".join(node.flow.values(node.flow.settings.topic_raw))


def incompressible_bytes(size: int) -> bytes:
    """What no codec makes smaller."""
    return _random.randbytes(size // 2).hex().encode()


@short
def test_topic_limit_is_smaller_than_a_slice(node: Node) -> None:
    """Slices are cut smaller. A producer of which a batch was refused takes nothing more: it is made anew each time."""
    node.flow.configure(CRISP_COMPRESSION="none")
    asyncio.run(create_small_topic(node.flow, 60_000))
    for name in ("one", "two"):
        log = node.container(name)
        for _ in range(1500):
            log.write("stdout", incompressible_bytes(400))
    node.flow.shipper.start()

    node.assert_complete()
    assert node.topic().largest < 60_000
    assert "is made smaller: it is more than the topic" in node.shipper_log()
    assert node.snapshot()["kafka"] == "ok"


def test_topic_limit_is_smaller_than_an_event(node: Node) -> None:
    """Its container waits, told by name; others go on; once the topic takes it, so does that container."""
    node.flow.configure(CRISP_COMPRESSION="none")
    asyncio.run(create_small_topic(node.flow, 100_000))
    waiting, other = node.container("waiting"), node.container("other")
    waiting.write("stdout", b"before")
    waiting.write("stdout", incompressible_bytes(200_000))
    waiting.write("stdout", b"after")
    node.flow.shipper.start()
    eventually(lambda: f"bytes of {waiting.uid}/app/0 waits" in node.shipper_log(), 60)
    assert f"set its max.message.bytes to {record_max_bytes(node.flow.settings)}" in node.shipper_log()

    other.write("stdout", b"is not held up")
    eventually(lambda: b"is not held up" in b"".join(node.flow.values(node.flow.settings.topic_raw)), 10)
    eventually(lambda: "waits" in get(node.port, "/readyz")[1], 10)
    assert get(node.port, "/livez")[0] == 200
    asyncio.run(set_message_limit(node.flow, record_max_bytes(node.flow.settings)))

    node.assert_complete(90)
    eventually(lambda: get(node.port, "/readyz")[0] == 200, 10)


def test_write_permission_is_missing_then_granted_then_revoked(stack: Stack, guarded: Broker, tmp_path: Path) -> None:
    """Told, tried slowly; and the shipper's own log, which it reads as everyone's, does not feed itself."""
    node = Node(stack, tmp_path, **guarded.environment("admin"))
    flow = node.flow
    asyncio.run(setup.create_topics(flow.settings))
    flow.configure(CRISP_KAFKA_USER="shipper")
    log, own = node.container("shop"), node.container("crisp-shipper")
    log.write("stdout", b"first")
    raw, words = flow.settings.topic_raw, "the user of CRISP_KAFKA_USER may not write to"
    try:
        flow.shipper.start()
        eventually(lambda: words in node.shipper_log(), 30)
        asyncio.run(guarded.grant("shipper", TOPIC, raw, "Write", "Describe"))
        node.assert_complete(30)
        asyncio.run(guarded.revoke("shipper", TOPIC, raw, "Write"))
        seen = len(node.shipper_log())
        until = time.monotonic() + 40
        while time.monotonic() < until:
            log.write("stdout", b"a line while nothing may be written")
            for line in node.shipper_log()[seen:].splitlines():
                own.write("stderr", line.encode())
            seen = len(node.shipper_log())
            time.sleep(0.5)
        refused = node.snapshot()
        ready, alive = get(node.port, "/readyz"), get(node.port, "/livez")[0]
        asyncio.run(guarded.grant("shipper", TOPIC, raw, "Write"))
        node.assert_complete(60)
    finally:
        node.stop()
    assert words in refused["kafka"]
    assert ready[0] == 503
    assert words in ready[1]
    assert alive == 200
    assert refused["slices"]["failed"] < 100
    assert node.shipper_log().count("\n") < 60


def test_kafka_password_changes_too_early(stack: Stack, guarded: Broker, tmp_path: Path) -> None:
    """A wrong secret hurts at the next connection: told, and taken up again without a restart once it is right."""
    secret = tmp_path / "secret"
    secret.write_text(PASSWORD)
    node = Node(stack, tmp_path, **guarded.environment("admin"))
    asyncio.run(setup.create_topics(node.flow.settings))
    asyncio.run(guarded.grant("shipper", TOPIC, node.flow.settings.topic_raw, "Write", "Describe"))
    node.flow.configure(CRISP_KAFKA_USER="shipper", CRISP_KAFKA_PASSWORD=None, CRISP_KAFKA_PASSWORD_FILE=str(secret))
    log = node.container("shop")
    log.write("stdout", b"before")
    try:
        node.flow.shipper.start()
        node.assert_complete(30)
        secret.write_text("wrong")
        eventually(lambda: "CRISP_KAFKA_PASSWORD_FILE changed" in node.shipper_log(), 10)
        guarded.process.kill()
        guarded.start()
        guarded.wait()
        log.write("stdout", b"meanwhile")
        eventually(lambda: "check CRISP_KAFKA_USER and CRISP_KAFKA_PASSWORD" in node.shipper_log(), 40)
        assert get(node.port, "/livez")[0] == 200
        secret.write_text(PASSWORD)
        node.assert_complete(40)
        assert node.flow.shipper.poll() is None
        assert "wrong" not in node.shipper_log()
    finally:
        node.stop()


def test_topic_is_deleted_and_recreated_while_the_shipper_runs(node: Node) -> None:
    """What it held is gone with it; what comes later arrives, and no topic is made by merely asking for it."""
    asyncio.run(setup.create_topics(node.flow.settings))
    log = node.container("shop")
    log.write("stdout", b"goes with the topic")
    node.flow.shipper.start()
    node.assert_complete()
    asyncio.run(delete_topic(node.flow))
    for number in range(5):
        log.write("stdout", b"later %d" % number)
        time.sleep(1)
    eventually(lambda: "there is no topic" in get(node.port, "/readyz")[1], 60)
    asyncio.run(setup.create_topics(node.flow.settings))

    eventually(lambda: all(b"later %d" % number in raw_bytes(node) for number in range(5)), 60)


def test_broker_freezes_and_the_shipper_is_terminated(node: Node) -> None:
    """Alive, not ready, within its memory; SIGTERM ends it within its grace; the next one brings all."""
    asyncio.run(setup.create_topics(node.flow.settings))
    log = node.container("shop")
    log.write("stdout", b"before")
    node.flow.shipper.start()
    node.assert_complete()
    pid = node.flow.shipper._child.pid
    node.flow.stack.kafka.pause()
    try:
        block = incompressible_bytes(15_000)
        until = time.monotonic() + 75
        while time.monotonic() < until:
            for number in range(30):
                log.write("stdout", b"%d " % number + block)
            assert get(node.port, "/livez")[0] == 200
            time.sleep(0.5)
        ready, mib = get(node.port, "/readyz"), peak_rss_mib(pid)
        began = time.monotonic()
        code = node.flow.shipper.stop()
        took = time.monotonic() - began
    finally:
        node.flow.stack.kafka.resume()
    assert (ready[0], code) == (503, 0), node.shipper_log()[-2000:]
    assert "has not answered" in ready[1]
    assert mib < SHIPPER_MIB
    assert took < node.flow.settings.ship_grace_seconds + 12
    node.flow.shipper.start()
    node.assert_complete(60)


def test_shipper_starts_and_is_terminated_while_kafka_is_frozen(node: Node) -> None:
    asyncio.run(setup.create_topics(node.flow.settings))
    node.flow.stack.kafka.pause()
    try:
        node.flow.shipper.start()
        eventually(lambda: get(node.port, "/livez")[0] == 200, 20)
        time.sleep(3)
        began = time.monotonic()
        assert node.flow.shipper.stop() == 0
        assert time.monotonic() - began < 10
    finally:
        node.flow.stack.kafka.resume()


def test_shipper_loop_hangs(node: Node) -> None:
    """Its thread stops, as on a disk that never answers: not alive after a minute, and alive again if it goes on."""
    asyncio.run(setup.create_topics(node.flow.settings))
    node.container("shop").write("stdout", b"hello")
    node.flow.shipper.start()
    node.assert_complete()
    with thread.stopped(node.flow.shipper._child.pid):
        time.sleep(50)
        before = get(node.port, "/livez")
        time.sleep(15)
        after = get(node.port, "/livez")
    assert before == (200, "ok\n")
    assert after[0] == 503
    assert "has not looked for files for" in after[1]
    eventually(lambda: get(node.port, "/livez")[0] == 200, 10)
    node.assert_complete()
