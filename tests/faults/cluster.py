"""A cluster of three Kafka brokers, each also a controller voter, which tests kill and restart one by one."""

import asyncio
import base64
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient

from pipeline.config.settings import Settings
from pipeline.local import artifacts, java, kafka
from pipeline.local.process import ServerProcess, free_ports

BROKERS = (1, 2, 3)


class Cluster:
    """`processes` by broker number."""

    def __init__(self, directory: Path) -> None:
        ports = free_ports(2 * len(BROKERS))
        self._ports = dict(zip(BROKERS, ports[: len(BROKERS)], strict=True))
        self._controllers = dict(zip(BROKERS, ports[len(BROKERS) :], strict=True))
        self._directories = {number: directory / f"broker-{number}" for number in BROKERS}
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        for number in BROKERS:
            self._prepare(number, cluster_id)
        self.processes: dict[int, ServerProcess] = {}
        for number in BROKERS:
            self.start(number)
        for number in BROKERS:
            self.wait_until_ready(number)

    def _prepare(self, number: int, cluster_id: str) -> None:
        """Write the configuration of a broker and format its storage, as `kafka.start` does for a single broker."""
        directory = self._directories[number]
        voters = ",".join(f"{voter}@127.0.0.1:{port}" for voter, port in self._controllers.items())
        directory.mkdir()
        text = kafka._PROPERTIES.format(
            port=self._ports[number], controller=self._controllers[number], data=directory / "data", extra_listeners=""
        )
        text = text.replace("node.id=1", f"node.id={number}")
        text = text.replace(f"1@127.0.0.1:{self._controllers[number]}", voters)
        properties = directory / "server.properties"
        properties.write_text(text)
        (directory / "log4j2.properties").write_text(kafka._LOGGING)
        command = [str(java.home() / "bin" / "java"), "-cp", f"{artifacts.kafka()}/*"]
        kafka._format(
            [*command, "kafka.tools.StorageTool", "format", f"--cluster-id={cluster_id}", "-c", str(properties)]
        )

    def start(self, number: int) -> None:
        """Start a broker; a restart keeps its data and address."""
        self.processes[number] = kafka.start(self._directories[number], self._ports[number], self._controllers[number])

    def wait_until_ready(self, number: int) -> None:
        """Wait until the broker accepts requests."""
        kafka.wait(self.processes[number], self._ports[number])

    @property
    def environment(self) -> dict[str, str]:
        """The settings to reach the cluster."""
        return {"CRISP_KAFKA_BROKERS": ",".join(f"127.0.0.1:{port}" for port in self._ports.values())}

    def leaders(self, settings: Settings) -> dict[int, int]:
        """Return the leader of each partition of the raw topic, -1 for none."""
        return asyncio.run(_leaders(settings))

    def stop(self) -> None:
        """Kill the running brokers."""
        for process in self.processes.values():
            process.kill()


async def _leaders(settings: Settings) -> dict[int, int]:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_brokers)
    await admin.start()
    try:
        (topic,) = await admin.describe_topics([settings.topic_raw])
    finally:
        await admin.close()
    return {partition["partition"]: partition["leader"] for partition in topic["partitions"]}


@contextmanager
def running(directory: Path) -> Iterator[Cluster]:
    """Run a cluster, and kill it at the end."""
    cluster = Cluster(directory)
    try:
        yield cluster
    finally:
        cluster.stop()
