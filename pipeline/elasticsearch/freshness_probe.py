"""Measure the age of a line when search first returns it: from time to time, search for a document until it is visible.

A GET by id is real-time and also returns documents that are not refreshed yet, so the probe must search: one id, in
one shard, one search at a time, with pauses of up to a quarter of a second, for at most a minute.
"""

import asyncio
import logging
import time
from typing import Any

import orjson

from pipeline.backoff import Backoff
from pipeline.documents.batch import Document
from pipeline.elasticsearch import requests
from pipeline.elasticsearch.requests import JSON
from pipeline.elasticsearch.retrying_client import RetryingClient
from pipeline.monitoring.metrics import Metrics

TIMEOUT_SECONDS = 60.0
FIRST_PAUSE_SECONDS = 0.05
MAX_PAUSE_SECONDS = 0.25

log = logging.getLogger(__name__)


class FreshnessProbe:
    """Searches for an offered document every `interval` seconds; disabled if `interval` is 0."""

    def __init__(self, client: RetryingClient, metrics: Metrics, interval: float) -> None:
        self._client = client
        self._metrics = metrics
        self._interval = interval
        self._offered: asyncio.Future[tuple[Document, float]] | None = None

    def offer(self, document: Document, written_at: float) -> None:
        """Offer a document just indexed; `written_at` in seconds since the epoch."""
        if self._offered is not None and not self._offered.done():
            self._offered.set_result((document, written_at))

    async def run(self) -> None:
        """Probe until cancelled."""
        while self._interval:
            self._offered = asyncio.get_running_loop().create_future()
            document, written_at = await self._offered
            result = await self._search_until_visible(document.index, document.id)
            self._metrics.inc("crisp_worker_search_probes", result=result)
            if result != "missing":
                self._metrics.observe(
                    "crisp_worker_latency_seconds", max(0.0, time.time() - written_at), stage="searchable"
                )
            await asyncio.sleep(self._interval)

    async def _search_until_visible(self, index: str, identity: str) -> str:
        """Return `found`, `timed_out`, or `missing` if the document does not exist: it was rejected or deleted."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        backoff = Backoff(FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS)
        query = {"query": {"ids": {"values": [identity]}}, "size": 0, "terminate_after": 1}
        while time.monotonic() < deadline:
            path = f"/{index}/_search?routing={identity}&filter_path=hits.total.value"
            response = await self._request("POST", path, orjson.dumps(query))
            if _has_hit(response):
                return "found"
            await asyncio.sleep(backoff.next_pause())
        response = await self._request("GET", f"/{index}/_doc/{identity}?_source=false", None)
        return "missing" if isinstance(response, dict) and not response.get("found") else "timed_out"

    async def _request(self, method: str, path: str, body: bytes | None) -> Any:
        """Return the response; None on errors, which the indexer reports."""
        response = await self._client.request(method, path, body, JSON)
        if response.status == 404 and isinstance(response.body, dict) and "found" in response.body:
            return response.body
        if response.status != 200:
            log.warning("search probe failed: %s", requests.describe(response))
            return None
        return response.body


def _has_hit(response: Any) -> bool:
    """Return whether a search response has a hit; a response without `hits`, as from a proxy, has none."""
    match response:
        case {"hits": {"total": {"value": int(number)}}}:
            return number > 0
    return False
