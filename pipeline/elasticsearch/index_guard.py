"""Resolve the index for a document: only indices created from crisp's template are written to.

Each index is looked up before the first write, soon after it was created, and regularly: it may be deleted, and its
template too; Elasticsearch would then create it again without crisp's mapping. An existing index that is not crisp's
(created so, or by an earlier log shipper) is left alone: documents go to `logs-crisp.YYYY.MM.DD` instead. While the
template is missing nothing is written, since the mappings of an index created without it cannot be repaired.
"""

import asyncio
import enum
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeVar

from pipeline.config.settings import IndexSettings
from pipeline.elasticsearch import index_template, requests
from pipeline.elasticsearch.requests import Response
from pipeline.monitoring.metrics import Metrics

RECHECK_SECONDS = 30.0
RECHECK_NEW_SECONDS = 2.0
"""After an index was missing: the next write creates it, if its template still exists then."""
RETRY_SECONDS = 2.0

log = logging.getLogger(__name__)

T = TypeVar("T")


class RequestUntil(Protocol):
    """Sends a request until `read` returns a value for the response."""

    async def __call__(
        self, read: Callable[[Response], T | None], method: str, path: str, body: bytes | None = None
    ) -> T:
        """Return the value."""


class Owner(enum.Enum):
    """Whose an index or a template is."""

    CRISP = enum.auto()
    OTHER = enum.auto()
    NONE = enum.auto()
    """It does not exist."""


class IndexResolver:
    """Resolves and caches the indices that documents go to."""

    def __init__(self, settings: IndexSettings, request_until: RequestUntil, metrics: Metrics) -> None:
        self._settings = settings
        self._request_until = request_until
        self._metrics = metrics
        self._resolved: dict[str, tuple[str, float]] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._problems: dict[str, str] = {}  # of the indices that are waited for

    @property
    def problem(self) -> str:
        """Why documents wait for an index; empty when none do."""
        return next(iter(self._problems.values()), "")

    async def resolve(self, index: str) -> str:
        """Return the index to write to: usually `index`, else its replacement. Waits while the template is missing."""
        entry = self._resolved.get(index)
        if entry is not None and time.monotonic() < entry[1]:
            return entry[0]
        async with self._locks.setdefault(index, asyncio.Lock()):
            entry = self._resolved.get(index)
            if entry is None or time.monotonic() >= entry[1]:
                entry = self._resolved[index] = await self._look_up(index)
            return entry[0]

    async def _look_up(self, index: str) -> tuple[str, float]:
        """Return the index to write to, and when to look it up again."""
        try:
            return await self._look_up_until_usable(index)
        finally:
            self._set_problem(index, "")

    async def _look_up_until_usable(self, index: str) -> tuple[str, float]:
        prefix = self._settings.index_prefix
        fallback = f"{prefix}-{index_template.OWNER}.{index.removeprefix(prefix + '-')}"
        while True:
            for candidate in (index, fallback):
                owner = await self._request_until(read_index_owner, "GET", f"/{candidate}/_mapping")
                if owner is Owner.CRISP or (owner is Owner.NONE and await self._template_exists(candidate)):
                    seconds = RECHECK_SECONDS if owner is Owner.CRISP else RECHECK_NEW_SECONDS
                    return candidate, time.monotonic() + seconds
                if owner is Owner.NONE:
                    name = index_template.template_for(candidate, self._settings).name
                    self._set_problem(index, f"index template {name} is missing: run `crisp setup`")
                    break
                if candidate == index:
                    log.error("index %s is not crisp's: it is left alone, documents go to %s", index, fallback)
                else:
                    self._set_problem(index, f"neither {index} nor {fallback} was created from crisp's index template")
            log.error("indexing paused: %s", self.problem)
            await asyncio.sleep(RETRY_SECONDS)

    async def _template_exists(self, index: str) -> bool:
        """Return whether a new index would get crisp's template; assumed if the privileges do not allow the request."""
        name = index_template.template_for(index, self._settings).name
        owner = await self._request_until(partial(read_template_owner, name), "GET", f"/_index_template/{name}")
        return owner is Owner.CRISP

    def _set_problem(self, index: str, problem: str) -> None:
        """Set the problem of an index; an empty one removes it."""
        if problem:
            self._problems[index] = problem
        else:
            self._problems.pop(index, None)
        self._metrics.set("crisp_worker_index_template_missing", float(bool(self._problems)))


def read_index_owner(response: Response) -> Owner | None:
    """Return the owner of the index that was asked for (GET _mapping); None if this is not Elasticsearch's answer."""
    if response.status == 404:
        return Owner.NONE if requests.read_error_type(response) == "index_not_found_exception" else None
    if response.status != 200 or not isinstance(response.body, dict) or not response.body:
        return None
    mappings = [entry.get("mappings") if isinstance(entry, dict) else None for entry in response.body.values()]
    if not all(isinstance(mapping, dict) for mapping in mappings):
        return None
    owned = any(index_template.is_owned_by_crisp(mapping.get("_meta")) for mapping in mappings if mapping)
    return Owner.CRISP if owned else Owner.OTHER


def read_template_owner(name: str, response: Response) -> Owner | None:
    """Return the owner of an index template; None if this is not Elasticsearch's answer."""
    if response.status == 404:
        return Owner.NONE if requests.read_error_type(response) == "resource_not_found_exception" else None
    if response.status == 403:
        return Owner.CRISP if requests.read_error_type(response) == "security_exception" else None
    match response:
        case Response(200, {"index_templates": [{"name": str(found), "index_template": dict(template)}]}):
            owned = index_template.is_owned_by_crisp(template.get("_meta"))
            return (Owner.CRISP if owned else Owner.OTHER) if found == name else None
    return None
