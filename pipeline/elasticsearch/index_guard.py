"""Resolve the index for a document: only indices created from crisp's template are written to.

Each index is looked up before the first write and again once a day. An existing index that is not crisp's (created by
an earlier log shipper) is left alone: documents go to `logs-crisp.YYYY.MM.DD` instead. While the template is missing
nothing is written, since the mappings of an index created without it cannot be repaired.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from pipeline.config.settings import IndexSettings
from pipeline.elasticsearch import index_template
from pipeline.elasticsearch.requests import Response
from pipeline.monitoring.metrics import Metrics

RECHECK_SECONDS = 86400.0
RETRY_SECONDS = 2.0

log = logging.getLogger(__name__)

GetUntil = Callable[[str, tuple[int, ...]], Awaitable[Response]]
"""Send GET requests for a path until the status is one of those."""


class IndexResolver:
    """Resolves and caches the indices that documents go to."""

    def __init__(self, settings: IndexSettings, get_until: GetUntil, metrics: Metrics) -> None:
        self._settings = settings
        self._get_until = get_until
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
                entry = self._resolved[index] = (await self._look_up(index), time.monotonic() + RECHECK_SECONDS)
            return entry[0]

    async def _look_up(self, index: str) -> str:
        try:
            return await self._look_up_until_usable(index)
        finally:
            self._set_problem(index, "")

    async def _look_up_until_usable(self, index: str) -> str:
        while True:
            status, response = await self._get_until(f"/{index}/_mapping", (200, 404))
            if status == 404:
                if await self._template_exists(index):
                    return index
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if any(index_template.is_owned_by_crisp(entry["mappings"].get("_meta")) for entry in response.values()):
                return index
            prefix = self._settings.index_prefix
            fallback = f"{prefix}-{index_template.OWNER}.{index.removeprefix(prefix + '-')}"
            log.error("index %s is not crisp's: it is left alone, documents go to %s", index, fallback)
            return fallback

    async def _template_exists(self, index: str) -> bool:
        """Return whether a new index would get crisp's template; assumed if the privileges do not allow the request."""
        name = index_template.template_for(index, self._settings).name
        status, response = await self._get_until(f"/_index_template/{name}", (200, 403, 404))
        if status == 403:
            return True
        templates = response.get("index_templates") if status == 200 else None
        if templates and index_template.is_owned_by_crisp(templates[0]["index_template"].get("_meta")):
            return True
        problem = f"index template {name} is missing: run `crisp setup`"
        self._set_problem(index, problem)
        log.error("indexing paused: %s", problem)
        return False

    def _set_problem(self, index: str, problem: str) -> None:
        """Set the problem of an index; an empty one removes it."""
        if problem:
            self._problems[index] = problem
        else:
            self._problems.pop(index, None)
        self._metrics.set("crisp_worker_index_template_missing", float(bool(self._problems)))
