"""An Elasticsearch in memory, behind the real client library: documents, templates, searches, scripted errors.

    elasticsearch = FakeElasticsearch()
    client = elasticsearch.connect(settings)                  # a real AsyncElasticsearch; close it
    elasticsearch.install(monkeypatch)                        # or: whatever calls `client.connect` gets the fake
    elasticsearch.respond("POST", "/_bulk", Response(429), TimeoutError())  # the next two such requests
    elasticsearch.document_error = lambda index, source: DocumentError(400, "document_parsing_exception", "no")
    elasticsearch.requests                                    # what was sent: method, path, query, body

Requests pass the client's serializers and its handling of errors, as with a server. tests/support/contract runs the
same tests on this fake and on a real server.
"""

import fnmatch
import itertools
import time
import urllib.parse
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from unittest import mock

import orjson
import pytest
from elastic_transport import (
    ApiResponseMeta,
    BaseAsyncNode,
    ConnectionTimeout,
    HttpHeaders,
    NodeConfig,
)
from elastic_transport import ConnectionError as NodeConnectionError
from elastic_transport._node import NodeApiResponse
from elasticsearch import AsyncElasticsearch

from pipeline.config.settings import Settings
from pipeline.elasticsearch import client as elasticsearch_client
from tests.support import fake_query

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Response:
    """A scripted response; a `bytes` body is sent as it is, e.g. truncated JSON."""

    status: int = 200
    body: Any = field(default_factory=dict)
    content_type: str = "application/json"


class Request(NamedTuple):
    """A request that was received."""

    method: str
    path: str
    query: dict[str, str]
    body: bytes

    @property
    def target(self) -> str:
        """The index or pattern in the path; empty for an API of the cluster."""
        first = self.path.strip("/").partition("/")[0]
        return "" if first.startswith("_") else first

    @property
    def api(self) -> str:
        """The path without the index: `_search`, `_doc/ID`, ..."""
        return self.path.strip("/").removeprefix(self.target).strip("/")


class DocumentError(NamedTuple):
    """The error of one document of a bulk request."""

    status: int
    type: str
    reason: str


ScriptedResponse = Response | Exception | Callable[[Request], Response]
"""TimeoutError: no response in time; OSError: no connection; any other exception is raised as it is."""


@dataclass(slots=True)
class Index:
    """An index: documents by id as (number of the operation, source)."""

    mappings: Json = field(default_factory=dict)
    settings: Json = field(default_factory=dict)
    documents: dict[str, tuple[int, Json]] = field(default_factory=dict)


class FakeElasticsearch:
    """One cluster. Public attributes may be changed by tests at any time."""

    def __init__(self, version: str = "8.19.21") -> None:
        self.version = version
        self.indices: dict[str, Index] = {}
        self.templates: dict[str, Json] = {}
        self.policies: dict[str, Json] = {}
        self.privileged = True
        self.health = "green"
        self.document_error: Callable[[str, Json], DocumentError | None] = lambda index, source: None
        self.requests: list[Request] = []
        self._scripts: list[tuple[str, str, deque[ScriptedResponse]]] = []
        self._seq_no = itertools.count()

    def connect(self, settings: Settings) -> AsyncElasticsearch:
        """Return a real client whose requests arrive here."""
        with mock.patch.object(elasticsearch_client, "BoundedNode", self._node_class()):
            return elasticsearch_client.connect(settings)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let every client that `pipeline.elasticsearch.client.connect` makes send its requests here."""
        monkeypatch.setattr(elasticsearch_client, "BoundedNode", self._node_class())

    def respond(self, method: str, path: str, *responses: ScriptedResponse) -> None:
        """Answer the next requests with these responses; `path` without query, may have wildcards."""
        self._scripts.append((method, path, deque(responses)))

    def respond_always(self, method: str, path: str, response: ScriptedResponse) -> None:
        """Answer all such requests with a response."""
        self._scripts.append((method, path, deque([response], maxlen=1)))

    def add_index(self, name: str, *, meta: Json | None = None, **settings: Any) -> Index:
        """Create an index; `meta` is the `_meta` of its mappings."""
        index = self.indices[name] = Index({"_meta": meta} if meta else {}, {"number_of_shards": "1", **settings})
        return index

    def add_document(self, index: str, document_id: str, source: Json) -> None:
        """Store a document; its index is created from the template that applies."""
        self._index_for(index).documents[document_id] = (next(self._seq_no), source)

    def sources(self, pattern: str = "*") -> dict[str, Json]:
        """Return the stored documents by id."""
        return {
            document_id: source
            for _, index in self._matching(pattern)
            for document_id, (_, source) in index.documents.items()
        }

    def bodies(self, path: str = "/_bulk") -> list[bytes]:
        """Return the bodies of the requests to a path."""
        return [request.body for request in self.requests if request.path == path]

    def _node_class(self) -> type[BaseAsyncNode]:
        handle = self.handle

        class Node(BaseAsyncNode):
            async def perform_request(  # type: ignore[override] # the base class is not async
                self,
                method: str,
                target: str,
                body: bytes | None = None,
                headers: Any = None,
                request_timeout: Any = None,
            ) -> NodeApiResponse:
                return handle(self.config, method, target, body or b"")

            async def close(self) -> None:  # type: ignore[override]
                pass

        return Node

    def handle(self, config: NodeConfig, method: str, target: str, body: bytes) -> NodeApiResponse:
        """Respond to one request, as a node of the client library does."""
        path, _, query = target.partition("?")
        request = Request(
            method, urllib.parse.unquote(path), dict(urllib.parse.parse_qsl(query, keep_blank_values=True)), body
        )
        self.requests.append(request)
        response = self._scripted(request) or self._route(request)
        data = response.body if isinstance(response.body, bytes) else orjson.dumps(response.body)
        if response.status < 300 and "filter_path" in request.query and not isinstance(response.body, bytes):
            data = orjson.dumps(fake_query.filter_path(response.body, request.query["filter_path"]))
        headers = HttpHeaders({"content-type": response.content_type, "x-elastic-product": "Elasticsearch"})
        return NodeApiResponse(ApiResponseMeta(response.status, "1.1", headers, 0.001, config), data)

    def _scripted(self, request: Request) -> Response | None:
        for method, path, responses in self._scripts:
            if method == request.method and fnmatch.fnmatchcase(request.path, path) and responses:
                response = responses[0] if responses.maxlen else responses.popleft()
                if isinstance(response, TimeoutError):
                    raise ConnectionTimeout(str(response) or "timed out")
                if isinstance(response, OSError):
                    raise NodeConnectionError(str(response) or "connection refused")
                if isinstance(response, Exception):
                    raise response
                return response if isinstance(response, Response) else response(request)
        return None

    def _route(self, request: Request) -> Response:
        name = request.api.partition("/")[0]
        handler = getattr(self, f"_api{name}" if name else "_api_root", None)
        if handler is None:
            return _error(400, "illegal_argument_exception", f"the fake has no {request.method} {request.path}")
        try:
            result = handler(request)
        except fake_query.UnsupportedQueryError as error:
            return _error(400, "parsing_exception", str(error))
        return result if isinstance(result, Response) else Response(200, result)

    def _api_root(self, request: Request) -> Json | Response:
        if not request.target:
            return {"name": "fake", "version": {"number": self.version, "build_flavor": "default"}}
        if request.method == "PUT":
            body = orjson.loads(request.body or b"{}")
            if request.target in self.indices:
                return _error(400, "resource_already_exists_exception", f"index [{request.target}] already exists")
            self._index_for(request.target).mappings.update(body.get("mappings", {}))
            return {"acknowledged": True}
        if request.method == "DELETE":
            for name, _ in self._matching(request.target):
                del self.indices[name]
            return {"acknowledged": True}
        return self._described(request, lambda index: {"mappings": index.mappings})

    def _api_bulk(self, request: Request) -> Json:
        lines = iter(request.body.rstrip(b"\n").split(b"\n"))
        items = []
        for action_line in lines:
            ((action, place),) = orjson.loads(action_line).items()
            index, document_id = place.get("_index") or request.target, place.get("_id")
            source = orjson.loads(next(lines)) if action != "delete" else {}
            items.append({action: self._write(action, index, document_id, source)})
        return {"errors": any("error" in item for entry in items for item in entry.values()), "took": 1, "items": items}

    def _write(self, action: str, index: str, document_id: str | None, source: Json) -> Json:
        place = {"_index": index, "_id": document_id or f"auto-{next(self._seq_no)}"}
        error = self.document_error(index, source) if action != "delete" else None
        if error is not None:
            return {**place, "status": error.status, "error": {"type": error.type, "reason": error.reason}}
        documents = self._index_for(index).documents
        exists = place["_id"] in documents
        if action == "create" and exists:
            reason = f"[{place['_id']}]: version conflict, document already exists"
            return {**place, "status": 409, "error": {"type": "version_conflict_engine_exception", "reason": reason}}
        if action == "delete":
            documents.pop(place["_id"], None)
            return {**place, "result": "deleted" if exists else "not_found", "status": 200 if exists else 404}
        documents[place["_id"]] = (next(self._seq_no), source)
        return {**place, "result": "updated" if exists else "created", "status": 200 if exists else 201}

    def _api_doc(self, request: Request) -> Json | Response:
        document_id = request.api.partition("/")[2]
        if request.method in ("PUT", "POST", "DELETE"):
            action = "delete" if request.method == "DELETE" else "index"
            result = self._write(action, request.target, document_id, orjson.loads(request.body or b"{}"))
            return Response(result["status"], result)
        if not self._matching(request.target):
            return _no_index(request.target)
        result = self._get(request.target, document_id, request.query.get("_source_includes", ""))
        return Response(200 if result["found"] else 404, result)

    def _get(self, index: str, document_id: str, includes: str = "") -> Json:
        place = {"_index": index, "_id": document_id}
        if index not in self.indices:
            return {**place, "error": _no_index(index).body["error"]}
        entry = self.indices[index].documents.get(document_id)
        if entry is None:
            return {**place, "found": False}
        return {**place, "_seq_no": entry[0], "found": True, "_source": _included(entry[1], includes)}

    def _api_mget(self, request: Request) -> Json:
        body = orjson.loads(request.body)
        wanted = body.get("docs") or [{"_id": document_id} for document_id in body.get("ids", ())]
        includes = request.query.get("_source_includes", "")
        return {"docs": [self._get(entry.get("_index") or request.target, entry["_id"], includes) for entry in wanted]}

    def _api_search(self, request: Request) -> Json | Response:
        found = self._find(request)
        if isinstance(found, Response):
            return found
        body, hits = found
        total = len(hits)
        aggregations = {
            name: {
                "buckets": fake_query.terms_buckets(
                    aggregation["terms"], [hit["_source"] for hit in hits], aggregation.get("aggs")
                )
            }
            for name, aggregation in body.get("aggs", {}).items()
        }
        for sort in reversed(body.get("sort", [])):
            ((name, order),) = ({sort: "asc"} if isinstance(sort, str) else sort).items()
            direction = order["order"] if isinstance(order, dict) else order
            hits.sort(key=lambda hit: _sort_value(hit, name), reverse=direction == "desc")
            for hit in hits:
                hit.setdefault("sort", []).insert(0, _sort_value(hit, name))
        hits = hits[: int(request.query.get("size") or body.get("size", 10))]
        if body.get("_source") is False:
            hits = [{key: value for key, value in hit.items() if key != "_source"} for hit in hits]
        counted = {} if body.get("track_total_hits") is False else {"total": {"value": total, "relation": "eq"}}
        shards = {"total": 1, "successful": 1, "skipped": 0, "failed": 0}
        found_aggregations = {"aggregations": aggregations} if aggregations else {}
        return {"timed_out": False, "_shards": shards, "hits": {**counted, "hits": hits}, **found_aggregations}

    def _api_count(self, request: Request) -> Json | Response:
        found = self._find(request)
        return found if isinstance(found, Response) else {"count": len(found[1])}

    def _find(self, request: Request) -> tuple[Json, list[Json]] | Response:
        body = orjson.loads(request.body or b"{}")
        if (
            "*" not in request.target
            and not self._matching(request.target)
            and request.query.get("ignore_unavailable") != "true"
        ):
            return _no_index(request.target)
        query = body.get("query", {"match_all": {}})
        return body, [
            {"_index": name, "_id": document_id, "_seq_no": seq_no, "_score": None, "_source": source}
            for name, index in self._matching(request.target)
            for document_id, (seq_no, source) in index.documents.items()
            if fake_query.matches(query, document_id, seq_no, source)
        ]

    def _api_refresh(self, request: Request) -> Json:
        return {"_shards": {"total": 1, "successful": 1, "failed": 0}}

    def _api_resolve(self, request: Request) -> Json:
        pattern = request.path.rpartition("/")[2]
        indices = [{"name": name, "attributes": ["open"]} for name, _ in self._matching(pattern)]
        return {"indices": indices, "aliases": [], "data_streams": []}

    def _api_mapping(self, request: Request) -> Json | Response:
        return self._described(request, lambda index: {"mappings": index.mappings})

    def _api_settings(self, request: Request) -> Json | Response:
        return self._described(request, lambda index: {"settings": {"index": {"uuid": "fake", **index.settings}}})

    def _described(self, request: Request, describe: Callable[[Index], Json]) -> Json | Response:
        indices = self._matching(request.target)
        if not indices and "*" not in request.target and request.query.get("ignore_unavailable") != "true":
            return _no_index(request.target)
        return {name: describe(index) for name, index in indices}

    def _api_index_template(self, request: Request) -> Json | Response:
        kind, _, name = request.api.partition("/")[2].partition("/")
        if kind == "_simulate":
            return {"template": orjson.loads(request.body)["template"] if request.body else {}}
        if kind == "_simulate_index":
            template = self._template_of(name) or {}
            return {"template": template.get("template", {}), "overlapping": []}
        if request.method == "PUT":
            self.templates[kind] = _normalized(orjson.loads(request.body))
            return {"acknowledged": True}
        if request.method == "DELETE":
            self.templates.pop(kind, None)
            return {"acknowledged": True}
        found = {name: body for name, body in self.templates.items() if fnmatch.fnmatchcase(name, kind or "*")}
        if not found and "*" not in kind:
            return _error(404, "resource_not_found_exception", f"index template matching [{kind}] not found")
        return {"index_templates": [{"name": name, "index_template": body} for name, body in found.items()]}

    def _api_ilm(self, request: Request) -> Json | Response:
        name = request.api.rpartition("/")[2]
        if request.method == "PUT":
            self.policies[name] = orjson.loads(request.body)
            return {"acknowledged": True}
        if name not in self.policies:
            return _error(404, "resource_not_found_exception", f"Lifecycle policy not found: {name}")
        return {name: {"version": 1, **self.policies[name]}}

    def _api_cluster(self, request: Request) -> Json:
        return {"cluster_name": "fake", "status": self.health, "number_of_nodes": 1, "number_of_data_nodes": 1}

    def _api_nodes(self, request: Request) -> Json:
        return {"nodes": {"fake": {"name": "fake", "version": self.version, "timestamp": int(time.time() * 1000)}}}

    def _api_security(self, request: Request) -> Json:
        if request.api.endswith("_authenticate"):
            return {"username": "fake", "authentication_type": "realm"}
        wanted = orjson.loads(request.body)
        index = {
            name: dict.fromkeys(entry["privileges"], self.privileged)
            for entry in wanted.get("index", ())
            for name in entry["names"]
        }
        cluster = dict.fromkeys(wanted.get("cluster", ()), self.privileged)
        return {"username": "fake", "has_all_requested": self.privileged, "cluster": cluster, "index": index}

    def _matching(self, pattern: str) -> list[tuple[str, Index]]:
        patterns = (pattern or "*").split(",")
        return [
            (name, index)
            for name, index in sorted(self.indices.items())
            if any(fnmatch.fnmatchcase(name, part) for part in patterns)
        ]

    def _template_of(self, index: str) -> Json | None:
        applying = [
            body
            for body in self.templates.values()
            if any(fnmatch.fnmatchcase(index, pattern) for pattern in body.get("index_patterns", ()))
        ]
        return max(applying, key=lambda body: int(body.get("priority", 0)), default=None)

    def _index_for(self, name: str) -> Index:
        if name not in self.indices:
            template = (self._template_of(name) or {}).get("template", {})
            settings = {key.removeprefix("index."): value for key, value in template.get("settings", {}).items()}
            index = Index(dict(template.get("mappings", {})), {"number_of_shards": "1", **settings})
            self.indices[name] = index
        return self.indices[name]


def _normalized(template: Json) -> Json:
    """Return a template as the server stores it: settings with flat names, and values as text."""
    inner = template.get("template", {})
    settings = fake_query.flatten(inner.get("settings", {})).items()
    flat = {key if key.startswith("index.") else f"index.{key}": _setting(value) for key, value in settings}
    return {**template, "template": {**inner, "settings": flat}}


def _setting(value: Any) -> Any:
    if isinstance(value, list):
        return [_setting(entry) for entry in value]
    return str(value).lower() if isinstance(value, bool) else str(value)


def _included(source: Json, includes: str) -> Json:
    patterns = includes.split(",") if includes else ["*"]
    return {name: value for name, value in source.items() if any(fnmatch.fnmatchcase(name, part) for part in patterns)}


def _sort_value(hit: Json, name: str) -> Any:
    return (
        hit["_seq_no"]
        if name in ("_seq_no", "_doc", "_shard_doc")
        else fake_query.flatten(hit["_source"]).get(name, "")
    )


def _error(status: int, kind: str, reason: str) -> Response:
    cause = {"type": kind, "reason": reason}
    return Response(status, {"error": {"root_cause": [cause], **cause}, "status": status})


def _no_index(name: str) -> Response:
    return _error(404, "index_not_found_exception", f"no such index [{name}]")
