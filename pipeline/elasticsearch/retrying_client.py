"""Requests that are sent again until Elasticsearch answers them: nothing else in crisp waits for it.

Pauses double up to a limit and are jittered. Being refused is said once in a while, in words that name the setting to
look at, and how it stands is kept for the status page.
"""

import asyncio
import logging
import random
import time
from typing import Any

import orjson
from elastic_transport import ConnectionTimeout, TlsError, TransportError
from elasticsearch import ApiError, AsyncElasticsearch

from pipeline.config.settings import Settings, env_name
from pipeline.monitoring.metrics import Metrics

JSON = "application/vnd.elasticsearch+json; compatible-with=8"
NDJSON = "application/vnd.elasticsearch+x-ndjson; compatible-with=8"

UNREACHABLE = 0
"""Status of a request that no node answered."""
TIMED_OUT = -1
"""Status of a request whose answer did not come in time."""

MAX_UNEXPECTED_ERRORS = 5
"""Faults in a row that no client is said to raise; one more, and the process had better begin anew."""

log = logging.getLogger(__name__)


class Backoff:
    """Pauses in seconds: doubling from 50 ms to the limit, each with jitter."""

    def __init__(self, maximum: float) -> None:
        self._maximum = maximum
        self._next_pause = 0.05

    def __next__(self) -> float:
        pause = self._next_pause
        self._next_pause = min(self._maximum, 2 * pause)
        return pause * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, no secret


class RetryingClient:
    """The client, and how its server stands."""

    def __init__(self, client: AsyncElasticsearch, settings: Settings, metrics: Metrics) -> None:
        self.client = client
        self._settings = settings
        self._metrics = metrics
        self.failing_since: float | None = None
        self.last_error = ""
        self._unexpected_errors = 0

    def new_backoff(self) -> Backoff:
        """New ones, for one thing that is tried."""
        return Backoff(self._settings.retry_max_seconds)

    async def request(
        self, method: str, path: str, body: bytes | None = None, content_type: str = NDJSON
    ) -> tuple[int, Any]:
        """Status and answer of one try; status 0 or below, with the fault's words, when there was no answer."""
        headers = {"accept": JSON} if body is None else {"accept": JSON, "content-type": content_type}
        try:
            found = await self.client.perform_request(method, path, headers=headers, body=body)
        except ApiError as fault:
            self._unexpected_errors = 0
            return fault.status_code, fault.body
        except ConnectionTimeout as fault:
            return TIMED_OUT, str(fault)
        except TlsError as fault:
            return UNREACHABLE, f"check {env_name('es_ca_file')} and {env_name('es_ca_fingerprint')}: {fault}"
        except (TransportError, OSError, ValueError) as fault:
            return UNREACHABLE, str(fault)
        except Exception as fault:  # the transport lets through what it does not know, as aiohttp raised it
            self._unexpected_errors += 1
            if self._unexpected_errors > MAX_UNEXPECTED_ERRORS:
                raise
            return UNREACHABLE, repr(fault)
        self._unexpected_errors = 0
        return found.meta.status, found.body

    async def get_until(self, path: str, statuses: tuple[int, ...]) -> tuple[int, Any]:
        """Status and answer of a GET, asked until the status is one of those."""
        pauses = self.new_backoff()
        while True:
            status, answer = await self.request("GET", path)
            if status in statuses and isinstance(answer, dict):
                self.mark_healthy()
                return status, answer
            self.mark_failing(describe_response(status, answer))
            await asyncio.sleep(next(pauses))

    def mark_failing(self, reason: str) -> None:
        """Note that something has to be tried again, and say so."""
        if self.failing_since is None:
            self.failing_since = time.time()
        self.last_error = reason
        self._metrics.set("crisp_worker_elasticsearch_unavailable", 1)
        log.warning("Elasticsearch does not take documents, tried again for ever: %s", reason)

    def mark_healthy(self) -> None:
        """Note that it takes documents again."""
        if self.failing_since is not None:
            log.info("Elasticsearch takes documents again after %.1f s", time.time() - self.failing_since)
            self.failing_since = None
            self._metrics.set("crisp_worker_elasticsearch_unavailable", 0)


def describe_response(status: int, body: Any) -> str:
    """An answer that is no answer, in words; for wrong credentials with the settings to look at."""
    text = body if isinstance(body, str) else orjson.dumps(body, default=str).decode()
    hint = f" (check ES_USER and ES_PASSWORD, or {env_name('es_api_key')})" if status in (401, 403) else ""
    shown = f"status {status}" if status > 0 else "no answer"
    return f"{shown}{hint}: {text[:300]}"
