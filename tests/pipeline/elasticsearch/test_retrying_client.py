"""Whatever the client raises is an answer that did not come; what never ends, ends the process."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from elastic_transport import ConnectionTimeout, SerializationError
from elasticsearch import AsyncElasticsearch

from pipeline.config import settings
from pipeline.elasticsearch.bulk_sender import BulkSender
from pipeline.elasticsearch.retrying_client import MAX_UNEXPECTED_ERRORS, TIMED_OUT, UNREACHABLE, RetryingClient
from pipeline.monitoring.metrics import WORKER, Metrics


class FakeClient:
    """Raises or answers what it is given, in turn, the last for ever; notes the bodies."""

    def __init__(self, *turns: Any) -> None:
        self._turns = list(turns)
        self.bodies: list[bytes] = []

    async def perform_request(self, *_: Any, body: bytes | None = None, **__: Any) -> Any:
        self.bodies.append(body or b"")
        turn = self._turns.pop(0) if len(self._turns) > 1 else self._turns[0]
        if isinstance(turn, BaseException):
            raise turn
        status, answer = turn
        return SimpleNamespace(meta=SimpleNamespace(status=status), body=answer)


def retrying_client(*turns: Any) -> RetryingClient:
    return RetryingClient(cast("AsyncElasticsearch", FakeClient(*turns)), settings.load({}), Metrics(WORKER))


@pytest.mark.parametrize(
    ("fault", "status"),
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
def test_no_fault_of_the_client_gets_out(fault: Exception, status: int) -> None:
    found, said = asyncio.run(retrying_client(fault).request("GET", "/"))

    assert found == status
    assert said


def test_a_fault_that_nobody_foresaw_ends_the_process_when_it_stays() -> None:
    asked = retrying_client(RuntimeError("closed"))

    async def many() -> None:
        for _ in range(MAX_UNEXPECTED_ERRORS):
            assert (await asked.request("GET", "/"))[0] == UNREACHABLE
        with pytest.raises(RuntimeError, match="closed"):
            await asked.request("GET", "/")

    asyncio.run(many())


def test_an_answer_between_lets_it_begin_anew() -> None:
    faults = [RuntimeError("odd")] * MAX_UNEXPECTED_ERRORS
    asked = retrying_client(*faults, (200, {}), *faults, (200, {}))

    async def many() -> list[int]:
        return [(await asked.request("GET", "/"))[0] for _ in range(2 * MAX_UNEXPECTED_ERRORS + 2)]

    assert asyncio.run(many()).count(200) == 2


def test_a_bulk_that_is_too_much_again_and_again_goes_in_halves_whatever_came_between() -> None:
    """The fourth try fails for another reason: still it is not sent whole for ever."""
    everything = {"errors": False, "items": [{"create": {"status": 201}}]}
    asked = retrying_client((429, ""), (429, ""), (429, ""), (503, ""), (429, ""), (200, everything))
    bulks = BulkSender(asked, settings.load({"CRISP_RETRY_MAX_SECONDS": "0.1"}), Metrics(WORKER))
    one = b'{"create":{}}\n{}\n'

    items = asyncio.run(bulks.send(2 * one, 2))

    assert len(items) == 2
    assert cast("Any", asked.client).bodies == [2 * one] * 5 + [one, one]
