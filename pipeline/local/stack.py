"""A local Kafka and Elasticsearch, started together and stopped reliably."""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.local import artifacts, elasticsearch, java, kafka
from pipeline.local.elasticsearch import Security
from pipeline.local.kafka import Listeners
from pipeline.local.process import ServerProcess, free_ports

DEFAULT_VERSION = artifacts.ELASTICSEARCH_VERSIONS[0]


@dataclass(slots=True)
class Address:
    """The servers' ports, and the version of Elasticsearch."""

    kafka_port: int
    controller_port: int
    es_port: int
    transport_port: int
    es_version: str

    @property
    def brokers(self) -> str:
        """For `CRISP_KAFKA_BROKERS`."""
        return f"127.0.0.1:{self.kafka_port}"

    @property
    def es_url(self) -> str:
        """For `CRISP_ES_URLS`."""
        return f"http://127.0.0.1:{self.es_port}"


class Stack:
    """A Kafka and an Elasticsearch with their files in one directory."""

    def __init__(self, directory: Path, version: str = DEFAULT_VERSION, *, detached: bool = False) -> None:
        self.directory = directory
        kafka_port, controller, es_port, transport = free_ports(4)
        self.address = Address(kafka_port, controller, es_port, transport, version)
        self._detached = detached
        self._listeners: Listeners | None = None
        self._security: Security | None = None
        self.kafka: ServerProcess
        self.elasticsearch: ServerProcess

    @property
    def environment(self) -> dict[str, str]:
        """The settings of crisp for these servers."""
        return {"CRISP_KAFKA_BROKERS": self.address.brokers, "CRISP_ES_URLS": self.address.es_url}

    @classmethod
    def restore(cls, directory: Path, address: Address) -> "Stack":
        """A detached stack that was started earlier in this directory, with its data and address."""
        stack = cls(directory, address.es_version, detached=True)
        stack.address = address
        return stack

    def start(self, on_progress: Callable[[str], None] = lambda _: None) -> None:
        """Start both and wait until both are ready. Raises StackError; then neither runs."""
        java.home()  # fails before anything is downloaded
        artifacts.kafka()
        artifacts.elasticsearch(self.address.es_version)
        started: list[ServerProcess] = []
        try:
            on_progress(f"starting Kafka {artifacts.KAFKA_VERSION} and Elasticsearch {self.address.es_version}")
            started.append(self.start_elasticsearch())
            started.append(self.start_kafka())
            self.wait_kafka()
            self.wait_elasticsearch()
        except BaseException:
            for server in started:
                server.kill()
            raise

    def start_kafka(self) -> ServerProcess:
        """Start the broker; after a stop, with the same data and address."""
        address = self.address
        self.kafka = kafka.start(
            self._home("kafka"),
            address.kafka_port,
            address.controller_port,
            listeners=self._listeners,
            detached=self._detached,
        )
        return self.kafka

    def start_elasticsearch(self, *options: str) -> ServerProcess:
        """Start the node; after a stop, with the same data and address. `options` are settings, `key=value`."""
        address = self.address
        self.elasticsearch = elasticsearch.start(
            self._home("elasticsearch"),
            address.es_version,
            address.es_port,
            address.transport_port,
            options,
            security=self._security,
            detached=self._detached,
        )
        return self.elasticsearch

    def wait_kafka(self) -> None:
        """Return when the broker is ready. Raises StackError."""
        kafka.wait(self.kafka, self.address.kafka_port)

    def wait_elasticsearch(self) -> None:
        """Return when the node accepts documents. Raises StackError."""
        self.elasticsearch.wait(lambda: elasticsearch.is_healthy(self.address.es_url), elasticsearch.START_SECONDS)

    def stop(self) -> None:
        """Stop both; their files stay."""
        self.elasticsearch.kill()
        self.kafka.kill()

    def _home(self, name: str) -> Path:
        home = self.directory / name
        home.mkdir(exist_ok=True)
        return home

    def state(self) -> str:
        """The state for `crisp local down`, as JSON."""
        return json.dumps(
            {**asdict(self.address), "kafka_pid": self.kafka.pid, "elasticsearch_pid": self.elasticsearch.pid}
        )


@contextmanager
def temporary_stack(
    version: str = DEFAULT_VERSION, on_progress: Callable[[str], None] = lambda _: None
) -> Iterator[Stack]:
    """A stack in a temporary directory; both are removed at the end."""
    # Not in the user's cache: Elasticsearch may run as another user, who may not enter a home directory.
    directory = Path(tempfile.mkdtemp(prefix="crisp-stack-"))
    directory.chmod(0o755)
    stack = Stack(directory, version)
    try:
        stack.start(on_progress)
        try:
            yield stack
        finally:
            stack.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
