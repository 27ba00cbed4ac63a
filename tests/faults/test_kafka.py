"""Errors of Kafka and limits of its configuration: nothing is lost, nothing blocks indefinitely, and a log line names
the setting to change."""

import asyncio
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from pipeline.kafka import client, topic_config
from pipeline.local.process import peak_rss_mib
from pipeline.local.stack import Stack
from pipeline.operations.setup import topics
from tests.faults import thread
from tests.faults.node import Node
from tests.integration import broker as brokers
from tests.integration.broker import PASSWORD, TOPIC, Broker
from tests.integration.flow import Flow, eventually
from tests.support.http import get

pytestmark = [pytest.mark.faults, pytest.mark.timeout(400)]
short = pytest.mark.short

SHIPPER_MIB = 64
_random = random.Random(11)


@pytest.fixture(scope="module")
def secured_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with brokers.temporary_broker(tmp_path_factory.mktemp("kafka"), ["shipper"]) as broker:
        yield broker


async def create_small_topic(flow: Flow, max_bytes: int) -> None:
    """Create the raw topic with a small max.message.bytes."""
    admin = AIOKafkaAdminClient(**client.connection(flow.settings))
    await admin.start()
    try:
        configs = {topic_config.MAX_MESSAGE_BYTES: str(max_bytes)}
        await admin.create_topics([NewTopic(flow.settings.topic_raw, 3, 1, topic_configs=configs)])
    finally:
        await admin.close()


async def set_message_limit(flow: Flow, max_bytes: int) -> None:
    """Set max.message.bytes of the raw topic."""
    admin = AIOKafkaAdminClient(**client.connection(flow.settings))
    await admin.start()
    try:
        topic = ConfigResource(
            ConfigResourceType.TOPIC, flow.settings.topic_raw, {topic_config.MAX_MESSAGE_BYTES: str(max_bytes)}
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
    """Return bytes that no codec compresses well."""
    return _random.randbytes(size // 2).hex().encode()


@short
def test_topic_limit_is_smaller_than_a_slice(node: Node) -> None:
    """Slices become smaller. A producer accepts nothing after a rejected batch: it is replaced each time."""
    node.flow.configure(CRISP_COMPRESSION="none")
    asyncio.run(create_small_topic(node.flow, 60_000))
    for name in ("one", "two"):
        log = node.container(name)
        for _ in range(1500):
            log.write("stdout", incompressible_bytes(400))
    node.flow.shipper.start()

    node.assert_complete()
    assert node.topic().largest < 60_000
    assert "slice size reduced: it exceeds the limit of topic" in node.shipper_log()
    assert not node.snapshot()["kafka_problem"]


def test_topic_limit_is_smaller_than_an_event(node: Node) -> None:
    """Its container waits, and the log names it; others continue; a larger limit releases the container."""
    node.flow.configure(CRISP_COMPRESSION="none")
    asyncio.run(create_small_topic(node.flow, 100_000))
    waiting, other = node.container("waiting"), node.container("other")
    waiting.write("stdout", b"before")
    waiting.write("stdout", incompressible_bytes(200_000))
    waiting.write("stdout", b"after")
    node.flow.shipper.start()
    eventually(lambda: f"bytes of {waiting.uid}/app/0 is too large" in node.shipper_log(), 60)
    assert f"set its max.message.bytes to {node.flow.settings.record_max_bytes}" in node.shipper_log()

    other.write("stdout", b"is not delayed")
    eventually(lambda: b"is not delayed" in b"".join(node.flow.values(node.flow.settings.topic_raw)), 10)
    eventually(lambda: "too large" in get(node.port, "/readyz")[1], 10)
    assert get(node.port, "/livez")[0] == 200
    asyncio.run(set_message_limit(node.flow, node.flow.settings.record_max_bytes))

    node.assert_complete(90)
    eventually(lambda: get(node.port, "/readyz")[0] == 200, 10)


def test_write_permission_is_missing_then_granted_then_revoked(
    stack: Stack, secured_broker: Broker, tmp_path: Path
) -> None:
    """The error is reported and retried with back-off; the shipper's own log, shipped too, does not amplify itself."""
    node = Node(stack, tmp_path, **secured_broker.environment("admin"))
    flow = node.flow
    asyncio.run(topics.create_topics(flow.settings))
    flow.configure(CRISP_KAFKA_USER="shipper")
    log, own = node.container("shop"), node.container("crisp-shipper")
    log.write("stdout", b"first")
    raw, message = flow.settings.topic_raw, "the user of CRISP_KAFKA_USER may not write to"
    try:
        flow.shipper.start()
        eventually(lambda: message in node.shipper_log(), 30)
        asyncio.run(secured_broker.grant("shipper", TOPIC, raw, "Write", "Describe"))
        node.assert_complete(30)
        asyncio.run(secured_broker.revoke("shipper", TOPIC, raw, "Write"))
        length = len(node.shipper_log())
        until = time.monotonic() + 40
        while time.monotonic() < until:
            log.write("stdout", b"a line while nothing may be written")
            for line in node.shipper_log()[length:].splitlines():
                own.write("stderr", line.encode())
            length = len(node.shipper_log())
            time.sleep(0.5)
        status = node.snapshot()
        ready, alive = get(node.port, "/readyz"), get(node.port, "/livez")[0]
        asyncio.run(secured_broker.grant("shipper", TOPIC, raw, "Write"))
        node.assert_complete(60)
    finally:
        node.stop()
    assert message in status["kafka_problem"]
    assert ready[0] == 503
    assert message in ready[1]
    assert alive == 200
    assert status["records_sent"]["failed"] < 100
    assert node.shipper_log().count("\n") < 60


def test_kafka_password_changes_too_early(stack: Stack, secured_broker: Broker, tmp_path: Path) -> None:
    """A wrong password fails at the next connection and is reported; the correct one is reloaded without a restart."""
    secret = tmp_path / "secret"
    secret.write_text(PASSWORD)
    node = Node(stack, tmp_path, **secured_broker.environment("admin"))
    asyncio.run(topics.create_topics(node.flow.settings))
    asyncio.run(secured_broker.grant("shipper", TOPIC, node.flow.settings.topic_raw, "Write", "Describe"))
    node.flow.configure(CRISP_KAFKA_USER="shipper", CRISP_KAFKA_PASSWORD=None, CRISP_KAFKA_PASSWORD_FILE=str(secret))
    log = node.container("shop")
    log.write("stdout", b"before")
    try:
        node.flow.shipper.start()
        node.assert_complete(30)
        secret.write_text("wrong")
        eventually(lambda: "reloaded CRISP_KAFKA_PASSWORD_FILE" in node.shipper_log(), 10)
        secured_broker.process.kill()
        secured_broker.start()
        secured_broker.wait()
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
    """Its records are lost; later lines arrive; a metadata request does not create the topic."""
    asyncio.run(topics.create_topics(node.flow.settings))
    log = node.container("shop")
    log.write("stdout", b"goes with the topic")
    node.flow.shipper.start()
    node.assert_complete()
    asyncio.run(delete_topic(node.flow))
    for number in range(5):
        log.write("stdout", b"later %d" % number)
        time.sleep(1)
    eventually(lambda: "does not exist" in get(node.port, "/readyz")[1], 60)
    asyncio.run(topics.create_topics(node.flow.settings))

    eventually(lambda: all(b"later %d" % number in raw_bytes(node) for number in range(5)), 60)


def test_broker_freezes_and_the_shipper_is_terminated(node: Node) -> None:
    """The shipper is live, not ready, within its memory; SIGTERM stops it in the grace period; the next ships all."""
    asyncio.run(topics.create_topics(node.flow.settings))
    log = node.container("shop")
    log.write("stdout", b"before")
    node.flow.shipper.start()
    node.assert_complete()
    pid = node.flow.shipper.pid
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
        started = time.monotonic()
        code = node.flow.shipper.stop()
        seconds = time.monotonic() - started
    finally:
        node.flow.stack.kafka.resume()
    assert (ready[0], code) == (503, 0), node.shipper_log()[-2000:]
    assert "has not answered" in ready[1]
    assert mib < SHIPPER_MIB
    assert seconds < node.flow.settings.ship_grace_seconds + 12
    node.flow.shipper.start()
    node.assert_complete(60)


def test_shipper_starts_and_is_terminated_while_kafka_is_frozen(node: Node) -> None:
    asyncio.run(topics.create_topics(node.flow.settings))
    node.flow.stack.kafka.pause()
    try:
        node.flow.shipper.start()
        eventually(lambda: get(node.port, "/livez")[0] == 200, 20)
        time.sleep(3)
        started = time.monotonic()
        assert node.flow.shipper.stop() == 0
        assert time.monotonic() - started < 10
    finally:
        node.flow.stack.kafka.resume()


def test_shipper_loop_hangs(node: Node) -> None:
    """Its thread stops, as on a hanging disk: not live after a minute, and live again when it continues."""
    asyncio.run(topics.create_topics(node.flow.settings))
    node.container("shop").write("stdout", b"hello")
    node.flow.shipper.start()
    node.assert_complete()
    with thread.stopped(node.flow.shipper.pid):
        time.sleep(50)
        before = get(node.port, "/livez")
        time.sleep(15)
        after = get(node.port, "/livez")
    assert before == (200, "ok\n")
    assert after[0] == 503
    assert "no scan for log files for" in after[1]
    eventually(lambda: get(node.port, "/livez")[0] == 200, 10)
    node.assert_complete()
