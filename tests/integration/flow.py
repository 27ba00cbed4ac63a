"""Topics, indices and a log directory for one test; starts, kills and stops crisp's processes."""

import asyncio
import itertools
import json
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from pipeline.config.environment import load_settings
from pipeline.config.settings import Settings
from pipeline.contract.record import Headers
from pipeline.demo.child_process import ChildProcess
from pipeline.kafka import client
from pipeline.local.process import free_ports
from pipeline.local.stack import Stack
from pipeline.operations.setup import setup

_numbers = itertools.count(1)
_SHARD_TRIES = 10


class Flow:
    """Files to documents, by `crisp ship` and `crisp worker`."""

    def __init__(self, stack: Stack, directory: Path, **extra: str) -> None:
        name = f"t{next(_numbers)}{uuid.uuid4().hex[:8]}"
        self.stack = stack
        self.prefix = name
        self.logs = directory / "pods"
        self.logs.mkdir()
        self.environment = {
            **stack.environment,
            "CRISP_LOGS_DIR": str(self.logs),
            "CRISP_STATE_DIR": str(directory / "state"),
            "CRISP_NODE_NAME": "node-1",
            "CRISP_TOPIC_RAW": f"{name}-raw",
            "CRISP_TOPIC_DEAD": f"{name}-dead",
            "CRISP_TOPIC_PARTITIONS": "3",
            "CRISP_KAFKA_GROUP": name,
            "CRISP_INDEX_PREFIX": name,
            "CRISP_WORKER_PORT": "0",
            "CRISP_KAFKA_SESSION_TIMEOUT_SECONDS": "2",
            **extra,
        }
        self._directory = directory
        self.configure()

    def configure(self, **changes: str | None) -> None:
        """Change settings for processes started later; None removes a setting."""
        self.environment.update({name: value for name, value in changes.items() if value is not None})
        for name in (name for name, value in changes.items() if value is None):
            self.environment.pop(name, None)
        self.settings = load_settings(self.environment)
        self.shipper = ChildProcess("ship", self.environment, self._directory)
        self.worker = ChildProcess("worker", self.environment, self._directory)

    def set_up(self) -> list[str]:
        """Run `crisp setup`."""
        return asyncio.run(setup.create_all(self.settings))

    def make_container(self, pod: str, container: str = "app", uid: str | None = None) -> Path:
        """Create the log directory of a container."""
        path = self.logs / f"shop_{pod}_{uid or uuid.uuid4()}" / container
        path.mkdir(parents=True)
        return path

    def run_once(self, process: ChildProcess, seconds: float = 60) -> None:
        """Run a process with `--once`; fails the test with its output unless it exits with 0."""
        process.start("--once")
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            raise AssertionError(f"{process.name} did not exit:\n{process.output.read_text()}") from None
        assert code == 0, process.output.read_text()

    def stop(self) -> None:
        """Stop both processes."""
        self.shipper.stop()
        self.worker.stop()

    def request(self, path: str, body: dict[str, Any] | None = None, method: str | None = None) -> dict[str, Any]:
        """Send a request to Elasticsearch."""
        request = urllib.request.Request(
            f"{self.stack.address.es_url}/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"content-type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            result: dict[str, Any] = json.load(response)
        return result

    def bulk(self, body: bytes) -> dict[str, Any]:
        """The response to a bulk request."""
        headers = {"content-type": "application/x-ndjson"}
        request = urllib.request.Request(f"{self.stack.address.es_url}/_bulk", body, headers)
        with urllib.request.urlopen(request, timeout=30) as response:
            result: dict[str, Any] = json.load(response)
        return result

    def produce(self, *values: bytes, headers: Headers | None = None) -> None:
        """Send records to the raw topic, as another producer."""
        asyncio.run(_produce(self.settings, values, headers or []))

    def values(self, topic: str) -> list[bytes]:
        """The values of all records of a topic."""
        return [record.value or b"" for record in self.records(topic)]

    def records(
        self,
        topic: str,
        matches: Callable[[Any], bool] = lambda _: True,
        reader_settings: Settings | None = None,
        partitions: Sequence[int] = (),
    ) -> list[Any]:
        """The matching records of a topic, as aiokafka returns them; in order within a partition.

        `partitions`: the partitions to read; all if empty.
        """
        return asyncio.run(_read_records(reader_settings or self.settings, topic, matches, partitions))

    def count(self, query: dict[str, Any] | None = None) -> int:
        """The number of documents that a search finds; 0 while no shard is available."""
        try:
            return int(self.request(f"{self.prefix}-*/_count", {"query": query} if query else None)["count"])
        except urllib.error.HTTPError as error:
            if error.code == 503:
                return 0
            raise

    def documents(self) -> list[dict[str, Any]]:
        """All documents of this flow, as hits, in the order of container and offset; waits for recovering shards."""
        for _ in range(_SHARD_TRIES):
            try:
                return self._search_all()
            except urllib.error.HTTPError as error:  # an index created between the two requests is not available yet
                if error.code != 503:
                    raise
                time.sleep(0.5)
        return self._search_all()

    def _search_all(self) -> list[dict[str, Any]]:
        health = self.request(f"_cluster/health/{self.prefix}-*?wait_for_status=yellow&timeout=60s")
        assert health["status"] != "red", health
        self.request(f"{self.prefix}-*/_refresh?allow_no_indices=true")
        body = {"size": 10000, "sort": [{"_doc": "asc"}]}
        page = self.request(f"{self.prefix}-*/_search?scroll=1m", body)
        hits: list[dict[str, Any]] = []
        while page["hits"]["hits"]:
            hits += page["hits"]["hits"]
            page = self.request("_search/scroll", {"scroll": "1m", "scroll_id": page["_scroll_id"]})
        return sorted(hits, key=lambda hit: str(hit["_id"]))

    def messages(self) -> list[str]:
        """The messages of all documents."""
        return [hit["_source"]["message"] for hit in self.documents()]


def eventually(condition: Callable[[], bool], seconds: float = 60, every: float = 0.2) -> None:
    """Return when the condition is true; fails the test on timeout."""
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, f"condition not true after {seconds} s"
        time.sleep(every)


def flow_with_pages(stack: Stack, directory: Path, **extra: str) -> tuple[Flow, int, int]:
    """A flow after setup, with status pages of shipper and worker; and their ports."""
    ship, work = free_ports(2)
    ports = {"CRISP_SHIP_PORT": str(ship), "CRISP_WORKER_PORT": str(work), "CRISP_STATUS_HOST": "127.0.0.1"}
    flow = Flow(stack, directory, **ports, **extra)
    flow.set_up()
    return flow, ship, work


async def _produce(settings: Settings, values: Sequence[bytes], headers: Headers) -> None:
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka_brokers) as producer:
        for value in values:
            await producer.send_and_wait(settings.topic_raw, value, headers=headers)


async def _read_records(
    settings: Settings, topic: str, matches: Callable[[Any], bool], numbers: Sequence[int]
) -> list[Any]:
    consumer = AIOKafkaConsumer(**client.connection(settings))
    await consumer.start()
    try:
        numbers = numbers or await client.partitions(settings, topic)
        partitions = [TopicPartition(topic, number) for number in numbers]
        consumer.assign(partitions)
        await consumer.seek_to_beginning()
        ends = await consumer.end_offsets(partitions)
        result: list[Any] = []
        while any([await consumer.position(tp) < end for tp, end in ends.items()]):
            batches = await consumer.getmany(timeout_ms=1000)
            result += [record for records in batches.values() for record in records if matches(record)]
        return result
    finally:
        await consumer.stop()
