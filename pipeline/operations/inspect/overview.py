"""Overview of all processes: status of shippers and workers, consumer lag, Elasticsearch's health.

What is unreachable is reported as a problem.
"""

import asyncio
import http.client
import socket
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import urlsplit

from aiokafka.errors import KafkaConnectionError, KafkaError

from pipeline.config.settings import ElasticsearchSettings, KafkaSettings, Settings, StatusSettings, env_name
from pipeline.elasticsearch import requests
from pipeline.elasticsearch.client import connect
from pipeline.elasticsearch.requests import Response
from pipeline.errors import SettingsError
from pipeline.kafka import consumer_lag
from pipeline.kafka.error_text import describe_error
from pipeline.monitoring import formatting, status_json
from pipeline.monitoring.problem import Problem, Severity, worst_first, worst_severity
from pipeline.monitoring.status_json import StatusFormatError
from pipeline.operations.inspect import fleet
from pipeline.operations.inspect.fleet import FleetSummary, Process, UnknownProcess
from pipeline.operations.inspect.read_limit import MAX_ANSWER_BYTES, ReadLimit

REQUEST_TIMEOUT_SECONDS = 5.0
MAX_CONCURRENT_REQUESTS = 32

Address = tuple[str, int]
"""An IP address and a port."""


def parse_status_urls(settings: StatusSettings) -> list[tuple[str, int]]:
    """Return host and port of each URL in the settings. Raises SettingsError."""
    addresses, problems = [], []
    for url in settings.status_urls:
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = None
        if parts.scheme != "http" or not parts.hostname or not port or parts.path not in {"", "/"}:
            problems.append(f"{env_name('status_urls')}: {url!r} is not http://HOST:PORT")
        else:
            addresses.append((parts.hostname, port))
    if problems:
        raise SettingsError(problems)
    return addresses


@dataclass(frozen=True, slots=True)
class SourcedProblem(Problem):
    """A problem, and the process or server that has it; `address` is that of a process that answers, else empty."""

    source: str
    address: str = ""


@dataclass(frozen=True, slots=True)
class PartitionOffsets:
    """The lag and the offsets of one partition of the raw topic; `seconds` is None if unknown."""

    partition: int
    records: int
    seconds: float | None
    committed: int
    end: int
    log_start: int


@dataclass(frozen=True, slots=True)
class KafkaOverview:
    """The consumer lag in total and by partition, None if it cannot be read; and the oldest record's age, if known."""

    brokers: str
    lag_records: int | None = None
    oldest_seconds: float | None = None
    partitions: tuple[PartitionOffsets, ...] = ()


@dataclass(frozen=True, slots=True)
class ElasticsearchOverview:
    """The cluster's health: green, yellow, red; or why it is unknown."""

    status: str


@dataclass(frozen=True, slots=True)
class Overview:
    """The status of everything; `problems` by descending severity, `time` in seconds since the epoch."""

    time: float
    state: Severity
    problems: tuple[SourcedProblem, ...]
    kafka: KafkaOverview
    elasticsearch: ElasticsearchOverview
    fleet: FleetSummary
    processes: tuple[Process, ...]
    unknown_processes: tuple[UnknownProcess, ...]


async def gather(settings: Settings) -> Overview:
    """Request the status of everything. Raises SettingsError for invalid URLs."""
    hosts = parse_status_urls(settings)
    processes, (kafka, kafka_problems), (elasticsearch, elasticsearch_problems) = await asyncio.gather(
        _processes(hosts), _kafka(settings), _elasticsearch(settings)
    )
    return assemble(processes, kafka, elasticsearch, [*kafka_problems, *elasticsearch_problems])


def assemble(
    processes: Sequence[Process | UnknownProcess],
    kafka: KafkaOverview,
    elasticsearch: ElasticsearchOverview,
    problems: Iterable[SourcedProblem],
) -> Overview:
    """Return the overview of these parts; `problems` are those of the servers."""
    ordered = worst_first([*problems, *(problem for process in processes for problem in _problems(process))])
    known = [process for process in processes if isinstance(process, Process)]
    unknown = tuple(process for process in processes if isinstance(process, UnknownProcess))
    return Overview(
        time=time.time(),
        state=worst_severity(ordered),
        problems=ordered,
        kafka=kafka,
        elasticsearch=elasticsearch,
        fleet=fleet.summarise(known, len(unknown)),
        processes=tuple(sorted(known, key=lambda process: (process.status.kind, process.status.name))),
        unknown_processes=unknown,
    )


def _problems(process: Process | UnknownProcess) -> list[SourcedProblem]:
    if isinstance(process, UnknownProcess):
        return [SourcedProblem(Severity.CRITICAL, process.reason, "instance-down", process.address)]
    source = f"{process.status.kind} {process.status.name}"
    return [
        SourcedProblem(item.severity, item.message, item.runbook, source, process.address)
        for item in process.status.problems
    ]


async def _processes(hosts: list[tuple[str, int]]) -> list[Process | UnknownProcess]:
    """Return the status of each process: one for each address of a host name."""
    semaphore = asyncio.Semaphore(MAX_CONCURRENT_REQUESTS)
    limit = ReadLimit()
    loop, executor = asyncio.get_running_loop(), ThreadPoolExecutor(MAX_CONCURRENT_REQUESTS)

    async def request(host: str, address: Address) -> Process | UnknownProcess:
        async with semaphore:
            return await loop.run_in_executor(executor, _request_status, host, address, limit)

    unresolved: list[Process | UnknownProcess] = []
    requests = []
    for host, port in hosts:
        try:
            resolved = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            unresolved.append(UnknownProcess(f"{host}:{port}", f"Unreachable: no such host: {error}"))
            continue
        addresses = sorted({(str(entry[4][0]), port) for entry in resolved})
        requests += [asyncio.ensure_future(request(host, address)) for address in addresses]
    try:
        return unresolved + await asyncio.gather(*requests)
    finally:
        executor.shutdown(wait=False)


def _request_status(host: str, address: Address, limit: ReadLimit) -> Process | UnknownProcess:
    name = f"{address[0]}:{address[1]}" if host == address[0] else f"{host} ({address[0]}:{address[1]})"
    if problem := limit.problem():
        return UnknownProcess(name, f"Unknown: {problem}.")
    connection = http.client.HTTPConnection(*address, timeout=limit.timeout(REQUEST_TIMEOUT_SECONDS))
    try:
        connection.request("GET", "/status.json", headers={"Host": f"{host}:{address[1]}"})
        response = connection.getresponse()
        body = _read_body(response)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return UnknownProcess(name, f"Unreachable: {_describe_error(error)}")
    finally:
        connection.close()
    limit.add(len(body))
    if response.status != 200:
        return UnknownProcess(name, f"Unreachable: HTTP status {response.status}")
    return read_process(name, body)


def _read_body(response: http.client.HTTPResponse) -> bytes:
    """Return the body, within the limits of one answer. Raises OSError, ValueError."""
    deadline = time.monotonic() + REQUEST_TIMEOUT_SECONDS
    body = b""
    while chunk := response.read1(MAX_ANSWER_BYTES):
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise ValueError(f"the answer exceeds {MAX_ANSWER_BYTES >> 20} MiB")
        if time.monotonic() > deadline:
            raise TimeoutError("timed out")
    return body


def read_process(address: str, body: bytes) -> Process | UnknownProcess:
    """Return the process whose `/status.json` this is."""
    try:
        return Process(address, status_json.from_json(body))
    except StatusFormatError as error:
        return UnknownProcess(address, f"Its state is not known: {error}")


def _describe_error(error: Exception) -> str:
    """Return the error's message, or its type if it has none."""
    message = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return message or type(error).__name__


async def _kafka(settings: KafkaSettings) -> tuple[KafkaOverview, list[SourcedProblem]]:
    brokers = settings.kafka_address
    try:
        async with asyncio.timeout(2 * REQUEST_TIMEOUT_SECONDS):
            lags = await consumer_lag.read_lag(settings)
    except (KafkaError, TimeoutError) as error:
        unreachable = isinstance(error, (KafkaConnectionError, TimeoutError))
        reason = "no broker is reachable" if unreachable else describe_error(error)
        message = f"Cannot read consumer lag at {brokers}: {reason}."
        return KafkaOverview(brokers), [SourcedProblem(Severity.CRITICAL, message, "shipper-backlog", "Kafka")]
    waiting = [lag for lag in lags.values() if lag.records]
    oldest_seconds = max((lag.seconds for lag in waiting if lag.seconds is not None), default=None if waiting else 0.0)
    late = SourcedProblem(Severity.WARNING, f"Records wait for {formatting.age(oldest_seconds)}.", "lag", "Kafka")
    partitions = tuple(
        PartitionOffsets(number, lag.records, lag.seconds, lag.first, lag.end, lag.begin)
        for number, lag in sorted(lags.items())
    )
    overview = KafkaOverview(brokers, sum(lag.records for lag in lags.values()), oldest_seconds, partitions)
    return overview, [late] if oldest_seconds is None or oldest_seconds > 60 else []


async def _elasticsearch(settings: ElasticsearchSettings) -> tuple[ElasticsearchOverview, list[SourcedProblem]]:
    client = connect(settings)
    try:
        async with asyncio.timeout(REQUEST_TIMEOUT_SECONDS):
            response = await requests.request(client, "GET", "/_cluster/health")
    except TimeoutError:
        response = Response(requests.TIMED_OUT, f"no response within {REQUEST_TIMEOUT_SECONDS:.0f} s")
    finally:
        await client.close()
    status = response.body.get("status") if isinstance(response.body, dict) else None
    if response.status == 200 and status in ("green", "yellow", "red"):
        red = SourcedProblem(Severity.CRITICAL, "The cluster is red.", "elasticsearch", "Elasticsearch")
        return ElasticsearchOverview(status), [red] if status == "red" else []
    if response.status == 403 and requests.read_error_type(response) == "security_exception":
        return ElasticsearchOverview("reachable; no privilege to read its health"), []
    message = (
        f"Unreachable at {settings.es_address}: {response.body}."
        if response.status <= 0
        else f"Responds with {response.status} at {settings.es_address}."
    )
    return ElasticsearchOverview("unreachable"), [
        SourcedProblem(Severity.CRITICAL, message, "elasticsearch", "Elasticsearch")
    ]
