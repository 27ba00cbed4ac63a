"""How old a line is when a search finds it: now and then one of our own documents is looked up until it is there.

A GET by id would answer from what was not refreshed yet, so it must be a search: for one id, in one shard, one at a
time, every quarter of a second at most, for a minute at most.
"""

import asyncio
import logging
import time
from typing import Any

import orjson

from pipeline.elasticsearch.retrying_client import JSON, RetryingClient, describe_response
from pipeline.monitoring.metrics import Metrics

TIMEOUT_SECONDS = 60.0
FIRST_PAUSE_SECONDS = 0.05
MAX_PAUSE_SECONDS = 0.25

log = logging.getLogger(__name__)


class FreshnessProbe:
    """Looks up a document every `every` seconds, as long as there are any; never with `every` 0."""

    def __init__(self, client: RetryingClient, metrics: Metrics, interval: float) -> None:
        self._client = client
        self._metrics = metrics
        self._interval = interval
        self._offered: asyncio.Future[tuple[bytes, float]] | None = None

    def offer(self, document: bytes, written_at: float) -> None:
        """A document that was indexed just now, as in the bulk; written at that time, seconds since the epoch."""
        if self._offered is not None and not self._offered.done():
            self._offered.set_result((document, written_at))

    async def run(self) -> None:
        """Look until cancelled."""
        while self._interval:
            self._offered = asyncio.get_running_loop().create_future()
            document, written = await self._offered
            action = orjson.loads(document[: document.index(b"\n")])["create"]
            outcome = await self._search_until_visible(action["_index"], action["_id"])
            self._metrics.inc("crisp_worker_search_probes", result=outcome)
            if outcome != "missing":
                self._metrics.observe(
                    "crisp_worker_latency_seconds", max(0.0, time.time() - written), stage="searchable"
                )
            await asyncio.sleep(self._interval)

    async def _search_until_visible(self, index: str, identity: str) -> str:
        """`found`; `timed_out` after the longest wait; `missing`: it does not exist."""
        limit = time.monotonic() + TIMEOUT_SECONDS
        pause = FIRST_PAUSE_SECONDS
        query = {"query": {"ids": {"values": [identity]}}, "size": 0, "terminate_after": 1}
        while time.monotonic() < limit:
            path = f"/{index}/_search?routing={identity}&filter_path=hits.total.value"
            answer = await self._request("POST", path, orjson.dumps(query))
            if _has_hit(answer):
                return "found"
            await asyncio.sleep(pause)
            pause = min(MAX_PAUSE_SECONDS, 2 * pause)
        there = await self._request("GET", f"/{index}/_doc/{identity}?_source=false", None)
        return "missing" if isinstance(there, dict) and not there.get("found") else "timed_out"

    async def _request(self, method: str, path: str, body: bytes | None) -> Any:
        """The answer; None while there is none, since the indexer tells what ails Elasticsearch."""
        status, answer = await self._client.request(method, path, body, JSON)
        if status == 404 and isinstance(answer, dict) and "found" in answer:
            return answer
        if status != 200:
            log.warning("a document cannot be looked up by search: %s", describe_response(status, answer))
            return None
        return answer


def _has_hit(response: Any) -> bool:
    """Whether a search answered with the document; an answer without hits, as a proxy may give, is none."""
    match response:
        case {"hits": {"total": {"value": int(number)}}}:
            return number > 0
    return False
