"""Overview of all processes: status of shippers and workers, consumer lag, Elasticsearch's health.

What is unreachable is reported as a problem.
"""

import asyncio
import http.client
import socket
import time
from typing import Any
from urllib.parse import urlsplit

import orjson
from aiokafka.errors import KafkaConnectionError, KafkaError
from elastic_transport import TransportError
from elasticsearch import ApiError

from pipeline.config.settings import Settings, env_name
from pipeline.elasticsearch.client import connect
from pipeline.errors import SettingsError
from pipeline.kafka import consumer_lag
from pipeline.monitoring.health import Problem, Severity, parse_severity, worst_severity

REQUEST_TIMEOUT_SECONDS = 5.0
MAX_RESPONSE_BYTES = 4 << 20
MAX_CONCURRENT_REQUESTS = 32

Address = tuple[str, int]
"""An IP address and a port."""


def parse_status_urls(settings: Settings) -> list[tuple[str, int]]:
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


async def gather(settings: Settings) -> dict[str, Any]:
    """Request the status of everything. Raises SettingsError for invalid URLs."""
    hosts = parse_status_urls(settings)
    processes, kafka, elasticsearch = await asyncio.gather(
        _processes(hosts), _kafka(settings), _elasticsearch(settings)
    )
    problems = [*kafka.pop("troubles"), *elasticsearch.pop("troubles")]
    for process in processes:
        problems += process["troubles"]
    worst = worst_severity(parse_severity(problem["level"]) for problem in problems)
    return {
        "time": time.time(),
        "state": worst.label,
        "troubles": sorted(problems, key=lambda problem: -parse_severity(problem["level"])),
        "kafka": kafka,
        "elasticsearch": elasticsearch,
        "parts": processes,
    }


async def _processes(hosts: list[tuple[str, int]]) -> list[dict[str, Any]]:
    """Return the status of each process: one for each address of a host name."""
    semaphore = asyncio.Semaphore(MAX_CONCURRENT_REQUESTS)

    async def request(host: str, address: Address) -> dict[str, Any]:
        async with semaphore:
            return await asyncio.to_thread(_request_status, host, address)

    requests = []
    for host, port in hosts:
        try:
            resolved = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            requests.append(
                asyncio.ensure_future(asyncio.sleep(0, _unreachable(f"{host}:{port}", f"no such host: {error}")))
            )
            continue
        addresses = sorted({(str(entry[4][0]), port) for entry in resolved})
        requests += [asyncio.ensure_future(request(host, address)) for address in addresses]
    return sorted(await asyncio.gather(*requests), key=lambda process: (process["kind"], process["name"]))


def _request_status(host: str, address: Address) -> dict[str, Any]:
    name = f"{address[0]}:{address[1]}" if host == address[0] else f"{host} ({address[0]}:{address[1]})"
    connection = http.client.HTTPConnection(*address, timeout=REQUEST_TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/status.json", headers={"Host": f"{host}:{address[1]}"})
        response = connection.getresponse()
        body = response.read(MAX_RESPONSE_BYTES)
        if response.status != 200:
            return _unreachable(name, f"HTTP status {response.status}")
        status: dict[str, Any] = orjson.loads(body)
        source = f"{status['kind']} {status['name']}"
        status["troubles"] = [{**problem, "of": source} for problem in status["troubles"]]
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
        return _unreachable(name, _describe_error(error))
    finally:
        connection.close()
    return {**status, "address": f"{address[0]}:{address[1]}"}


def _describe_error(error: Exception) -> str:
    """Return the error's message, or its type if it has none."""
    message = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return message or type(error).__name__


def _unreachable(name: str, reason: str) -> dict[str, Any]:
    problem = _problem(Severity.CRITICAL, f"Unreachable: {reason}", "instance-down", name)
    return {"kind": "unknown", "name": name, "state": Severity.CRITICAL.label, "troubles": [problem]}


def _problem(severity: Severity, message: str, runbook: str, source: str) -> dict[str, str]:
    return {**Problem(severity, message, runbook).as_dict(), "of": source}


async def _kafka(settings: Settings) -> dict[str, Any]:
    brokers = settings.kafka_address
    try:
        async with asyncio.timeout(2 * REQUEST_TIMEOUT_SECONDS):
            lags = await consumer_lag.read_lag(settings)
    except (KafkaError, TimeoutError) as error:
        unreachable = isinstance(error, (KafkaConnectionError, TimeoutError))
        reason = "no broker is reachable" if unreachable else _describe_error(error)
        message = f"Cannot read consumer lag at {brokers}: {reason}."
        return {
            "brokers": brokers,
            "lag": None,
            "troubles": [_problem(Severity.CRITICAL, message, "shipper-backlog", "Kafka")],
        }
    lag_seconds = max((lag.seconds or 0.0 for lag in lags.values()), default=0.0)
    late = _problem(Severity.WARNING, f"Records wait for {lag_seconds:.0f} s.", "lag", "Kafka")
    return {
        "brokers": brokers,
        "lag": sum(lag.records for lag in lags.values()),
        "oldest_seconds": lag_seconds,
        "partitions": {str(number): {**lag._asdict(), "records": lag.records} for number, lag in sorted(lags.items())},
        "troubles": [late] if lag_seconds > 60 else [],
    }


async def _elasticsearch(settings: Settings) -> dict[str, Any]:
    client = connect(settings)
    try:
        async with asyncio.timeout(REQUEST_TIMEOUT_SECONDS):
            response = await client.perform_request("GET", "/_cluster/health", headers={"accept": "application/json"})
    except ApiError as error:
        if error.status_code == 403:
            return {"status": "reachable; no privilege to read its health", "troubles": []}
        message = f"Responds with {error.status_code} at {settings.es_address}."
    except (TransportError, OSError, TimeoutError) as error:
        message = f"Unreachable at {settings.es_address}: {_describe_error(error)}."
    else:
        status = response.body["status"]
        red = _problem(Severity.CRITICAL, "The cluster is red.", "elasticsearch", "Elasticsearch")
        return {"status": status, "troubles": [red] if status == "red" else []}
    finally:
        await client.close()
    return {
        "status": "unreachable",
        "troubles": [_problem(Severity.CRITICAL, message, "elasticsearch", "Elasticsearch")],
    }
