"""Requests with unlimited retries; no other module waits for Elasticsearch.

The back-off is exponential up to a limit, with jitter. Failures are logged with the setting to check, and the state is
kept for the status page.
"""

import asyncio
import logging
import time
from typing import Any

import orjson
from elastic_transport import ConnectionTimeout, TlsError, TransportError
from elasticsearch import ApiError, AsyncElasticsearch

from pipeline.backoff import Backoff
from pipeline.config.settings import ElasticsearchSettings, env_name
from pipeline.monitoring.metrics import Metrics

JSON = "application/vnd.elasticsearch+json; compatible-with=8"
NDJSON = "application/vnd.elasticsearch+x-ndjson; compatible-with=8"

UNREACHABLE = 0
"""Status of a request that no node answered."""
TIMED_OUT = -1
"""Status of a request that timed out."""

FIRST_PAUSE_SECONDS = 0.05

MAX_UNEXPECTED_ERRORS = 5
"""Consecutive exceptions that the client does not document; one more ends the process, so that it is restarted."""

log = logging.getLogger(__name__)


class RetryingClient:
    """Sends requests with retries; records whether Elasticsearch is available."""

    def __init__(self, client: AsyncElasticsearch, settings: ElasticsearchSettings, metrics: Metrics) -> None:
        self.client = client
        self._settings = settings
        self._metrics = metrics
        self.failing_since: float | None = None
        self.last_error = ""
        self._unexpected_errors = 0

    def new_backoff(self) -> Backoff:
        """Return a new back-off for one operation."""
        return Backoff(FIRST_PAUSE_SECONDS, self._settings.retry_max_seconds)

    async def request(
        self, method: str, path: str, body: bytes | None = None, content_type: str = NDJSON
    ) -> tuple[int, Any]:
        """Return status and response of one attempt; without a response, status 0 or below and the error's message."""
        headers = {"accept": JSON} if body is None else {"accept": JSON, "content-type": content_type}
        try:
            response = await self.client.perform_request(method, path, headers=headers, body=body)
        except ApiError as error:
            self._unexpected_errors = 0
            return error.status_code, error.body
        except ConnectionTimeout as error:
            return TIMED_OUT, str(error)
        except TlsError as error:
            return UNREACHABLE, f"check {env_name('es_ca_file')} and {env_name('es_ca_fingerprint')}: {error}"
        except (TransportError, OSError, ValueError) as error:
            return UNREACHABLE, str(error)
        except Exception as error:  # the transport does not wrap every exception of aiohttp
            self._unexpected_errors += 1
            if self._unexpected_errors > MAX_UNEXPECTED_ERRORS:
                raise
            return UNREACHABLE, repr(error)
        self._unexpected_errors = 0
        return response.meta.status, response.body

    async def get_until(self, path: str, statuses: tuple[int, ...]) -> tuple[int, Any]:
        """Send GET requests until the status is one of `statuses`; return status and response."""
        backoff = self.new_backoff()
        while True:
            status, response = await self.request("GET", path)
            if status in statuses and isinstance(response, dict):
                self.mark_healthy()
                return status, response
            self.mark_failing(describe_response(status, response))
            await asyncio.sleep(backoff.next_pause())

    def mark_failing(self, reason: str) -> None:
        """Record and log that a request must be retried."""
        if self.failing_since is None:
            self.failing_since = time.time()
        self.last_error = reason
        self._metrics.set("crisp_worker_elasticsearch_unavailable", 1)
        log.warning("Elasticsearch unavailable, retrying: %s", reason)

    def mark_healthy(self) -> None:
        """Record that Elasticsearch is available."""
        if self.failing_since is not None:
            log.info("Elasticsearch available again after %.1f s", time.time() - self.failing_since)
            self.failing_since = None
            self._metrics.set("crisp_worker_elasticsearch_unavailable", 0)


def describe_response(status: int, body: Any) -> str:
    """Describe an error response; name the settings to check if the credentials are invalid."""
    text = body if isinstance(body, str) else orjson.dumps(body, default=str).decode()
    hint = f" (check ES_USER and ES_PASSWORD, or {env_name('es_api_key')})" if status in (401, 403) else ""
    summary = f"status {status}" if status > 0 else "no answer"
    return f"{summary}{hint}: {text[:300]}"
