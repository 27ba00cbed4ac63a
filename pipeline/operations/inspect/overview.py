"""All shippers and workers at once: their status pages, Kafka's lag, Elasticsearch. What cannot be asked is told."""

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

from pipeline.config.settings import Settings, env_name, strip_credentials
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
    """Host and port of each address in the settings. Raises SettingsError."""
    found, faults = [], []
    for url in settings.status_urls.replace(",", " ").split():
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = None
        if parts.scheme != "http" or not parts.hostname or not port or parts.path not in {"", "/"}:
            faults.append(f"{env_name('status_urls')}: {url!r} is not http://HOST:PORT")
        else:
            found.append((parts.hostname, port))
    if faults:
        raise SettingsError(faults)
    return found


async def gather(settings: Settings) -> dict[str, Any]:
    """Ask everyone. Raises SettingsError for addresses that are none."""
    hosts = parse_status_urls(settings)
    parts, kafka, elasticsearch = await asyncio.gather(_processes(hosts), _kafka(settings), _elasticsearch(settings))
    troubles = [*kafka.pop("troubles"), *elasticsearch.pop("troubles")]
    for part in parts:
        troubles += part["troubles"]
    worst = worst_severity(parse_severity(trouble["level"]) for trouble in troubles)
    return {
        "time": time.time(),
        "state": worst.label,
        "troubles": sorted(troubles, key=lambda trouble: -parse_severity(trouble["level"])),
        "kafka": kafka,
        "elasticsearch": elasticsearch,
        "parts": parts,
    }


async def _processes(hosts: list[tuple[str, int]]) -> list[dict[str, Any]]:
    """The facts of each process; each address of a name is one."""
    room = asyncio.Semaphore(MAX_CONCURRENT_REQUESTS)

    async def ask(host: str, address: Address) -> dict[str, Any]:
        async with room:
            return await asyncio.to_thread(_request_status, host, address)

    asked = []
    for host, port in hosts:
        try:
            answers = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as fault:
            asked.append(
                asyncio.ensure_future(asyncio.sleep(0, _unreachable(f"{host}:{port}", f"no such host: {fault}")))
            )
            continue
        addresses = sorted({(str(answer[4][0]), port) for answer in answers})
        asked += [asyncio.ensure_future(ask(host, address)) for address in addresses]
    return sorted(await asyncio.gather(*asked), key=lambda part: (part["kind"], part["name"]))


def _request_status(host: str, address: Address) -> dict[str, Any]:
    name = f"{address[0]}:{address[1]}" if host == address[0] else f"{host} ({address[0]}:{address[1]})"
    connection = http.client.HTTPConnection(*address, timeout=REQUEST_TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/status.json", headers={"Host": f"{host}:{address[1]}"})
        answer = connection.getresponse()
        body = answer.read(MAX_RESPONSE_BYTES)
        if answer.status != 200:
            return _unreachable(name, f"it answers with {answer.status}")
        facts: dict[str, Any] = orjson.loads(body)
        facts["troubles"] = [{**trouble, "of": f"{facts['kind']} {facts['name']}"} for trouble in facts["troubles"]]
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as fault:
        return _unreachable(name, _describe_error(fault))
    finally:
        connection.close()
    return {**facts, "address": f"{address[0]}:{address[1]}"}


def _describe_error(error: Exception) -> str:
    """A fault as one reads it: what it says of itself, else what it is."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return said or type(error).__name__


def _unreachable(name: str, reason: str) -> dict[str, Any]:
    trouble = _problem(Severity.CRITICAL, f"Cannot be asked: {reason}", "instance-down", name)
    return {"kind": "unknown", "name": name, "state": Severity.CRITICAL.label, "troubles": [trouble]}


def _problem(severity: Severity, message: str, runbook: str, source: str) -> dict[str, str]:
    return {**Problem(severity, message, runbook).as_dict(), "of": source}


async def _kafka(settings: Settings) -> dict[str, Any]:
    brokers = settings.kafka_brokers
    try:
        async with asyncio.timeout(2 * REQUEST_TIMEOUT_SECONDS):
            lags = await consumer_lag.read_lag(settings)
    except (KafkaError, TimeoutError) as fault:
        why = "no broker answers" if isinstance(fault, (KafkaConnectionError, TimeoutError)) else _describe_error(fault)
        words = f"Cannot be asked how far the workers are, at {brokers}: {why}."
        return {
            "brokers": brokers,
            "lag": None,
            "troubles": [_problem(Severity.CRITICAL, words, "shipper-backlog", "Kafka")],
        }
    waiting = max((one.seconds or 0.0 for one in lags.values()), default=0.0)
    late = _problem(Severity.WARNING, f"Records wait for {waiting:.0f} s.", "lag", "Kafka")
    return {
        "brokers": brokers,
        "lag": sum(one.records for one in lags.values()),
        "oldest_seconds": waiting,
        "partitions": {str(number): {**one._asdict(), "records": one.records} for number, one in sorted(lags.items())},
        "troubles": [late] if waiting > 60 else [],
    }


async def _elasticsearch(settings: Settings) -> dict[str, Any]:
    client = connect(settings)
    try:
        async with asyncio.timeout(REQUEST_TIMEOUT_SECONDS):
            answer = await client.perform_request("GET", "/_cluster/health", headers={"accept": "application/json"})
    except ApiError as fault:
        if fault.status_code == 403:
            return {"status": "answers; its health may not be asked", "troubles": []}
        words = f"Answers with {fault.status_code}, at {strip_credentials(settings.es_urls)}."
    except (TransportError, OSError, TimeoutError) as fault:
        words = f"Cannot be reached at {strip_credentials(settings.es_urls)}: {_describe_error(fault)}."
    else:
        status = answer.body["status"]
        bad = (
            [_problem(Severity.CRITICAL, "The cluster is red.", "elasticsearch", "Elasticsearch")]
            if status == "red"
            else []
        )
        return {"status": status, "troubles": bad}
    finally:
        await client.close()
    return {"status": "away", "troubles": [_problem(Severity.CRITICAL, words, "elasticsearch", "Elasticsearch")]}
