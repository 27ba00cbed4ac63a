"""Asks Elasticsearch what is searchable: how many documents, since when a line, and all of them for the report."""

import json
import statistics
import time
import urllib.error
import urllib.request
from collections import Counter, deque
from collections.abc import Iterator
from typing import Any

from pipeline.demo.ledger import document_keys

PAGE_SIZE = 5000
MAX_WATCHED = 400  # lines watched at a time; more would cost Elasticsearch more than the pipeline does
MAX_LATENCIES = 100_000  # latencies: the newest are kept
_FIELDS = ["message", "event.sequence", "kubernetes.pod.uid"]


class Searcher:
    """Looks into the indices of a demo's own Elasticsearch."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._watched: dict[str, float] = {}
        self.latencies: deque[float] = deque(maxlen=MAX_LATENCIES)

    def _request(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310 - our own http address
            self._url + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"content-type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
                found: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as fault:
            if fault.code in (404, 429, 503):  # no index yet, or not ready, or busy: look again later
                return {}
            raise
        return found

    def count(self) -> int:
        """Documents that a search finds now."""
        return int(self._request("/logs-*/_count").get("count", 0))

    def watch(self, trace: str) -> None:
        """Measure from now on how long the line with this trace id takes."""
        if len(self._watched) < MAX_WATCHED:
            self._watched[trace] = time.monotonic()

    def outstanding(self) -> int:
        """Watched lines that are not searchable yet."""
        return len(self._watched)

    def poll(self) -> None:
        """See which of the watched lines are searchable now."""
        if not self._watched:
            return
        traces = list(self._watched)
        found = self._request(
            "/logs-*/_search",
            {
                "size": len(traces),
                "_source": False,
                "docvalue_fields": ["trace.id"],
                "query": {"terms": {"trace.id": traces}},
            },
        )
        now = time.monotonic()
        for hit in found.get("hits", {}).get("hits", ()):
            (trace,) = hit["fields"]["trace.id"]
            since = self._watched.pop(trace, None)
            if since is not None:
                self.latencies.append(now - since)

    def percentiles(self) -> tuple[float, float]:
        """Median and 99th percentile of the latencies, in seconds; zeros when there are too few."""
        if len(self.latencies) < 2:
            return 0.0, 0.0
        cuts = statistics.quantiles(self.latencies, n=100, method="inclusive")
        return cuts[49], cuts[98]

    def line_keys(self, uids: list[str]) -> Counter[bytes]:
        """What all lines in all documents of these containers are known by."""
        self._request("/logs-*/_refresh")
        found: Counter[bytes] = Counter()
        for source in self._scroll({"terms": {"kubernetes.pod.uid": uids}}):
            found.update(document_keys(source))
        return found

    def _scroll(self, query: dict[str, Any]) -> Iterator[dict[str, Any]]:
        body = {"size": PAGE_SIZE, "sort": ["_doc"], "_source": _FIELDS, "query": query}
        page = self._request("/logs-*/_search?scroll=2m", body)
        while hits := page.get("hits", {}).get("hits"):
            for hit in hits:
                yield hit["_source"]
            page = self._request("/_search/scroll", {"scroll": "2m", "scroll_id": page["_scroll_id"]})

    def examples(self) -> list[dict[str, Any]]:
        """One document in full of each of some kinds: from JSON, with a request in it, of several lines."""
        queries = (
            {"exists": {"field": "log.logger"}},
            {"exists": {"field": "url.path"}},
            {"term": {"log.flags": "multiline"}},
        )
        found = [self._request("/logs-*/_search", {"size": 1, "query": query}) for query in queries]
        hits = [page["hits"]["hits"][0] for page in found if page.get("hits", {}).get("hits")]
        return hits or list(self._request("/logs-*/_search", {"size": 1}).get("hits", {}).get("hits", ()))
