"""Requests with unlimited retries; no other module waits for Elasticsearch.

The back-off is exponential up to a limit, with jitter. Failures are logged with the setting to check, and the state is
kept for the status page.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import TypeVar

from elasticsearch import AsyncElasticsearch

from pipeline.backoff import Backoff
from pipeline.config.settings import ElasticsearchSettings
from pipeline.elasticsearch import requests
from pipeline.elasticsearch.requests import JSON, NDJSON, UNREACHABLE, Response
from pipeline.monitoring.metrics import Metrics

FIRST_PAUSE_SECONDS = 0.05
UNRESPONSIVE_SECONDS = 10.0

MAX_UNEXPECTED_ERRORS = 5
"""Consecutive exceptions that the client does not document; one more ends the process, so that it is restarted."""

log = logging.getLogger(__name__)

T = TypeVar("T")


class RetryingClient:
    """Sends requests with retries; records whether Elasticsearch is available."""

    def __init__(self, client: AsyncElasticsearch, settings: ElasticsearchSettings, metrics: Metrics) -> None:
        self.client = client
        self._settings = settings
        self._metrics = metrics
        self.failing_since: float | None = None
        self.last_error = ""
        self._in_flight = 0
        self._unanswered_since = time.time()  # the last good response, or the first request after it
        self._unexpected_errors = 0

    @property
    def unresponsive_since(self) -> float | None:
        """Since when Elasticsearch has given no good response, although requests wait for one; None: it has just now.

        It is known before a request times out; in seconds since the epoch.
        """
        if self.failing_since is not None:
            return self.failing_since
        since = self._unanswered_since
        return since if self._in_flight and time.time() - since > UNRESPONSIVE_SECONDS else None

    def new_backoff(self) -> Backoff:
        """Return a new back-off for one operation."""
        return Backoff(FIRST_PAUSE_SECONDS, self._settings.retry_max_seconds)

    async def request(self, method: str, path: str, body: bytes | None = None, content_type: str = NDJSON) -> Response:
        """Send a request once. Raises an undocumented exception of the client only if it persists."""
        if not self._in_flight and self.failing_since is None:
            self._unanswered_since = time.time()
        self._in_flight += 1
        try:
            response = await requests.request(self.client, method, path, body, content_type)
        except Exception as error:  # the transport does not wrap every exception of aiohttp
            self._unexpected_errors += 1
            if self._unexpected_errors > MAX_UNEXPECTED_ERRORS:
                raise
            return Response(UNREACHABLE, repr(error))
        finally:
            self._in_flight -= 1
        if response.status > 0:
            self._unexpected_errors = 0
        return response

    async def request_until(
        self, read: Callable[[Response], T | None], method: str, path: str, body: bytes | None = None
    ) -> T:
        """Send requests until `read` understands the response; return what it has read.

        `read` returns None for a response that does not have the form of the request: a proxy may have sent it. It is
        never believed, so the answer is unknown until a later response has the form.
        """
        backoff = self.new_backoff()
        while True:
            response = await self.request(method, path, body, JSON)
            value = read(response)
            if value is not None:
                self.mark_healthy()
                return value
            self.mark_failing(f"{method} {path.partition('?')[0]}: unexpected response: {requests.describe(response)}")
            await asyncio.sleep(backoff.next_pause())

    def mark_failing(self, reason: str) -> None:
        """Record and log that a request must be retried."""
        if self.failing_since is None:
            self.failing_since = self._unanswered_since
        self.last_error = reason
        self._metrics.set("crisp_worker_elasticsearch_unavailable", 1)
        log.warning("Elasticsearch unavailable, retrying: %s", reason)

    def mark_healthy(self) -> None:
        """Record that Elasticsearch is available."""
        self._unanswered_since = time.time()
        if self.failing_since is not None:
            log.info("Elasticsearch available again after %.1f s", time.time() - self.failing_since)
            self.failing_since = None
            self._metrics.set("crisp_worker_elasticsearch_unavailable", 0)
