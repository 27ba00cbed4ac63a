"""Bulk requests, sent until there is a whole answer; nobody else posts to Elasticsearch."""

import asyncio
import itertools
import time

from pipeline.config.settings import Settings
from pipeline.elasticsearch import bulk_response
from pipeline.elasticsearch.bulk_response import ItemResult, Outcome
from pipeline.elasticsearch.concurrency_limit import ConcurrencyLimit
from pipeline.elasticsearch.retrying_client import TIMED_OUT, RetryingClient, describe_response
from pipeline.monitoring.metrics import Metrics

PATH = "/_bulk?filter_path=errors,items.*.status,items.*.error.type,items.*.error.reason"
TOO_LARGE = 413
TOO_MANY = 429
SPLIT_AFTER_TRIES = 4
"""A bulk refused so often as too much may be more than the server has memory for at its best: it goes in halves."""
_OVERLOADED = frozenset({429, 502, 503, 504, TIMED_OUT})
_TOO_LARGE = ItemResult(Outcome.REJECTED, "413 the document is larger than the server takes")


class BulkSender:
    """Sends bodies; what it learns of the server's pace goes into `limit`."""

    def __init__(self, client: RetryingClient, settings: Settings, metrics: Metrics) -> None:
        self._client = client
        self._metrics = metrics
        self._full_size = settings.bulk_max_bytes // 2
        self.limit = ConcurrencyLimit(settings.bulk_concurrency)

    async def send(self, body: bytes, count: int) -> list[ItemResult]:
        """The items of a bulk of so many documents, in their order."""
        pauses = self._client.new_backoff()
        for tried in itertools.count(1):
            began = time.monotonic()
            status, answer = await self._client.request("POST", PATH, body)
            if status == TOO_LARGE or (status == TOO_MANY and tried >= SPLIT_AFTER_TRIES and count > 1):
                return await self._send_in_halves(body, count)
            items = bulk_response.parse_response(answer, count) if status == 200 else None
            if items is not None:
                self._adapt(items, time.monotonic() - began, len(body))
                return items
            if status in _OVERLOADED:
                self.limit.on_overload()
            self._metrics.inc("crisp_worker_bulk_requests", result="error" if status != 200 else "invalid_response")
            self._client.mark_failing(
                describe_response(status, answer) if status != 200 else "the answer is cut or does not fit"
            )
            await asyncio.sleep(next(pauses))
        raise AssertionError("it is tried for ever")

    async def _send_in_halves(self, body: bytes, count: int) -> list[ItemResult]:
        """A body that is too large goes in two; a document that is too large alone is refused."""
        if count == 1:
            return [_TOO_LARGE]
        lines = body.split(b"\n")
        half = count // 2
        first = await self.send(b"\n".join(lines[: 2 * half]) + b"\n", half)
        return first + await self.send(b"\n".join(lines[2 * half :]), count - half)

    def _adapt(self, items: list[ItemResult], seconds: float, size: int) -> None:
        self._metrics.inc("crisp_worker_bulk_requests", result="success")
        if items.count(bulk_response.CREATED) < len(items) and any(item.outcome is Outcome.RETRY for item in items):
            if any(item.reason.startswith("429") for item in items):
                self.limit.on_overload()
        else:
            self._client.mark_healthy()
            if size >= self._full_size:
                self.limit.on_success(seconds)
