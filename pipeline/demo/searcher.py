"""Searches of the demo: the number of documents, the latency of watched lines, all lines for the report."""

import http.client
import json
import statistics
import time
import urllib.error
import urllib.request
from collections import Counter, deque
from collections.abc import Iterator

from pipeline.contract.json_types import JsonObject
from pipeline.demo.ledger import document_keys
from pipeline.errors import StackError

PAGE_SIZE = 5000
MAX_WATCHED = 400  # watched lines at a time: more would load Elasticsearch more than the pipeline does
MAX_LATENCIES = 100_000  # the newest latencies are kept
_FIELDS = ["message", "event.sequence", "kubernetes.pod.uid"]


class Searcher:
    """Searches the indices of the demo's own Elasticsearch."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._watched: dict[str, float] = {}
        self.latencies: deque[float] = deque(maxlen=MAX_LATENCIES)

    def _request(self, path: str, body: JsonObject | None = None, *, required: bool = False) -> JsonObject:
        """Send a request; without an answer return {}, or raise StackError if it is required."""
        request = urllib.request.Request(  # noqa: S310 - our own http address
            self._url + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"content-type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
                result: JsonObject = json.load(response)
        except urllib.error.HTTPError as error:
            if error.code in (404, 429, 503):  # no index yet, not ready, or busy: polled again later
                return {}
            raise
        except (OSError, http.client.HTTPException, ValueError) as error:
            if required:
                raise StackError(f"Elasticsearch does not answer, its documents cannot be counted: {error}") from error
            return {}  # it was killed, or answered half: polled again later
        return result

    def count(self) -> int:
        """Return the number of searchable documents."""
        return int(self._request("/logs-*/_count").get("count", 0))

    def watch(self, trace: str) -> None:
        """Start to measure the latency of the line with this trace id."""
        if len(self._watched) < MAX_WATCHED:
            self._watched[trace] = time.monotonic()

    def outstanding(self) -> int:
        """Return the number of watched lines that are not searchable yet."""
        return len(self._watched)

    def poll(self) -> None:
        """Search for the watched lines, and record the latency of those that are searchable."""
        if not self._watched:
            return
        traces = list(self._watched)
        response = self._request(
            "/logs-*/_search",
            {
                "size": len(traces),
                "_source": False,
                "docvalue_fields": ["trace.id"],
                "query": {"terms": {"trace.id": traces}},
            },
        )
        now = time.monotonic()
        for hit in response.get("hits", {}).get("hits", ()):
            (trace,) = hit["fields"]["trace.id"]
            since = self._watched.pop(trace, None)
            if since is not None:
                self.latencies.append(now - since)

    def percentiles(self) -> tuple[float, float]:
        """Return median and 99th percentile of the latencies in seconds; zeros when there are too few."""
        if len(self.latencies) < 2:
            return 0.0, 0.0
        cuts = statistics.quantiles(self.latencies, n=100, method="inclusive")
        return cuts[49], cuts[98]

    def line_keys(self, uids: list[str]) -> Counter[bytes]:
        """Return the keys of all lines in all documents of these containers."""
        self._request("/logs-*/_refresh", required=True)
        keys: Counter[bytes] = Counter()
        for source in self._scroll({"terms": {"kubernetes.pod.uid": uids}}):
            keys.update(document_keys(source))
        return keys

    def _scroll(self, query: JsonObject) -> Iterator[JsonObject]:
        body = {"size": PAGE_SIZE, "sort": ["_doc"], "_source": _FIELDS, "query": query}
        page = self._request("/logs-*/_search?scroll=2m", body, required=True)
        while hits := page.get("hits", {}).get("hits"):
            for hit in hits:
                yield hit["_source"]
            scroll = {"scroll": "2m", "scroll_id": page["_scroll_id"]}
            page = self._request("/_search/scroll", scroll, required=True)

    def examples(self) -> list[JsonObject]:
        """Return one complete document each: from JSON, with an HTTP request, of several lines."""
        queries = (
            {"exists": {"field": "log.logger"}},
            {"exists": {"field": "url.path"}},
            {"term": {"log.flags": "multiline"}},
        )
        pages = [self._request("/logs-*/_search", {"size": 1, "query": query}) for query in queries]
        hits = [page["hits"]["hits"][0] for page in pages if page.get("hits", {}).get("hits")]
        return hits or list(self._request("/logs-*/_search", {"size": 1}).get("hits", {}).get("hits", ()))
