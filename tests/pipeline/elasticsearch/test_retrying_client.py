"""Exceptions of the client count as missing responses; unexpected ones that persist end the process."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from elastic_transport import ConnectionTimeout, SerializationError
from elasticsearch import AsyncElasticsearch

from pipeline.config.environment import load_settings
from pipeline.elasticsearch.bulk_sender import BulkSender
from pipeline.elasticsearch.requests import TIMED_OUT, UNREACHABLE
from pipeline.elasticsearch.retrying_client import MAX_UNEXPECTED_ERRORS, RetryingClient
from pipeline.monitoring.metric_table import WORKER
from pipeline.monitoring.metrics import Metrics


class FakeClient:
    """Raises or returns the given results in turn, the last one repeatedly; records the bodies."""

    def __init__(self, *results: Any) -> None:
        self._results = list(results)
        self.bodies: list[bytes] = []

    async def perform_request(self, *_: Any, body: bytes | None = None, **__: Any) -> Any:
        self.bodies.append(body or b"")
        result = self._results.pop(0) if len(self._results) > 1 else self._results[0]
        if isinstance(result, BaseException):
            raise result
        status, response = result
        return SimpleNamespace(meta=SimpleNamespace(status=status), body=response)


def retrying_client(*results: Any) -> RetryingClient:
    return RetryingClient(cast("AsyncElasticsearch", FakeClient(*results)), load_settings({}), Metrics(WORKER))


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ConnectionTimeout("late"), TIMED_OUT),
        (SerializationError("no JSON"), UNREACHABLE),
        (ConnectionResetError("gone"), UNREACHABLE),
        (ValueError("no such media type"), UNREACHABLE),
        (RuntimeError("Session is closed"), UNREACHABLE),
        (AssertionError(), UNREACHABLE),
        (AttributeError("'NoneType' object has no attribute 'write'"), UNREACHABLE),
    ],
    ids=repr,
)
def test_exception_of_the_client_becomes_a_status(error: Exception, status: int) -> None:
    result, message = asyncio.run(retrying_client(error).request("GET", "/"))

    assert result == status
    assert message


def test_unexpected_error_is_raised_when_it_persists() -> None:
    client = retrying_client(RuntimeError("closed"))

    async def send_many() -> None:
        for _ in range(MAX_UNEXPECTED_ERRORS):
            assert (await client.request("GET", "/"))[0] == UNREACHABLE
        with pytest.raises(RuntimeError, match="closed"):
            await client.request("GET", "/")

    asyncio.run(send_many())


def test_response_resets_the_count_of_unexpected_errors() -> None:
    errors = [RuntimeError("odd")] * MAX_UNEXPECTED_ERRORS
    client = retrying_client(*errors, (200, {}), *errors, (200, {}))

    async def send_many() -> list[int]:
        return [(await client.request("GET", "/"))[0] for _ in range(2 * MAX_UNEXPECTED_ERRORS + 2)]

    assert asyncio.run(send_many()).count(200) == 2


def test_bulk_rejected_with_429_repeatedly_is_sent_in_halves_despite_other_errors() -> None:
    """The fourth attempt fails for another reason; the next 429 still splits the body."""
    all_created = {"errors": False, "items": [{"create": {"status": 201}}]}
    client = retrying_client((429, ""), (429, ""), (429, ""), (503, ""), (429, ""), (200, all_created))
    bulk_sender = BulkSender(client, load_settings({"CRISP_RETRY_MAX_SECONDS": "0.1"}), Metrics(WORKER))
    document = b'{"create":{}}\n{}\n'

    results = asyncio.run(bulk_sender.send(2 * document, 2))

    assert len(results) == 2
    assert cast("Any", client.client).bodies == [2 * document] * 5 + [document, document]
