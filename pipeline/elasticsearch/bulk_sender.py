"""Send bulk requests until a complete response arrives; no other module sends bulk requests."""

import asyncio
import itertools
import time

from pipeline.config.settings import ElasticsearchSettings
from pipeline.elasticsearch import bulk_response, requests
from pipeline.elasticsearch.bulk_response import ItemResult, Outcome
from pipeline.elasticsearch.concurrency_limit import ConcurrencyLimit
from pipeline.elasticsearch.requests import TIMED_OUT, UNREACHABLE, Response
from pipeline.elasticsearch.retrying_client import RetryingClient
from pipeline.monitoring.metrics import Metrics

PATH = "/_bulk?filter_path=errors,items.*.status,items.*.error.type,items.*.error.reason"
TOO_LARGE = 413
TOO_MANY = 429
SPLIT_AFTER_TRIES = 4
"""A bulk request rejected with 429 this often may exceed the memory of an idle server: it is split in halves."""
_OVERLOADED = frozenset({*requests.OVERLOADED, TIMED_OUT})
_NO_RESPONSE = {TIMED_OUT: "timed_out", UNREACHABLE: "unreachable"}
_TOO_LARGE = ItemResult(Outcome.REJECTED, "413 content_too_large: the document exceeds http.max_content_length")


class BulkSender:
    """Sends bulk bodies; adapts `limit` to the server's response times."""

    def __init__(self, client: RetryingClient, settings: ElasticsearchSettings, metrics: Metrics) -> None:
        self._client = client
        self._metrics = metrics
        self._full_size = settings.bulk_max_bytes // 2
        self.limit = ConcurrencyLimit(settings.bulk_concurrency)

    async def send(self, body: bytes, count: int) -> list[ItemResult]:
        """Send a body of `count` documents; return their results in order. Retries until it succeeds."""
        backoff = self._client.new_backoff()
        for attempt in itertools.count(1):
            started_at = time.monotonic()
            response = await self._client.request("POST", PATH, body)
            seconds, status = time.monotonic() - started_at, response.status
            self._count(status, seconds, len(body), count)
            if status == TOO_LARGE or (status == TOO_MANY and attempt >= SPLIT_AFTER_TRIES and count > 1):
                return await self._send_in_halves(body, count)
            results = bulk_response.parse_response(response.body, count) if status == 200 else None
            if results is not None:
                self._adapt(results, seconds, len(body))
                return results
            if status in _OVERLOADED:
                self.limit.on_overload()
            self._report(response)
            await asyncio.sleep(backoff.next_pause())
        raise AssertionError("retries are unlimited")

    def _count(self, status: int, seconds: float, size: int, documents: int) -> None:
        """Count a response, or that none came."""
        name = _NO_RESPONSE.get(status) or str(status)
        self._metrics.inc("crisp_worker_bulk_responses", status=name)
        self._metrics.inc("crisp_worker_bulk_bytes", size)
        self._metrics.observe("crisp_worker_bulk_request_duration_seconds", seconds)
        self._metrics.set("crisp_worker_bulk_requests_limit", self.limit.allowed)
        if status == TOO_MANY:
            self._metrics.inc("crisp_worker_documents_throttled", documents)

    def _report(self, response: Response) -> None:
        """Report a response that makes a retry necessary."""
        if response.status == 200:
            self._metrics.inc("crisp_worker_bulk_requests", result="invalid_response")
            self._client.mark_failing("the response is truncated or malformed")
        else:
            self._metrics.inc("crisp_worker_bulk_requests", result="error")
            self._client.mark_failing(requests.describe(response))

    async def _send_in_halves(self, body: bytes, count: int) -> list[ItemResult]:
        """Split a body that is too large in two; a single document that is too large is rejected."""
        if count == 1:
            return [_TOO_LARGE]
        lines = body.split(b"\n")
        half = count // 2
        results = await self.send(b"\n".join(lines[: 2 * half]) + b"\n", half)
        return results + await self.send(b"\n".join(lines[2 * half :]), count - half)

    def _adapt(self, results: list[ItemResult], seconds: float, size: int) -> None:
        self._metrics.inc("crisp_worker_bulk_requests", result="success")
        all_created = results.count(bulk_response.CREATED) == len(results)
        if not all_created and any(result.outcome is Outcome.RETRY for result in results):
            throttled = sum(result.outcome is Outcome.RETRY and result.reason.startswith("429") for result in results)
            if throttled:
                self._metrics.inc("crisp_worker_documents_throttled", throttled)
                self.limit.on_overload()
        else:
            self._client.mark_healthy()
            if size >= self._full_size:
                self.limit.on_success(seconds)
