"""Which index a document may go to: only one that was made by our template.

Before the first write to an index, and again once a day, it is looked up. An index of that name that is not ours
(made by whoever shipped logs before us) is left alone: ours is then `logs-crisp.YYYY.MM.DD`. While the template is
not there nothing is written, since an index made without it could not be mended.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from pipeline.config.settings import Settings
from pipeline.elasticsearch import index_template
from pipeline.monitoring.metrics import Metrics

RECHECK_SECONDS = 86400.0
RETRY_SECONDS = 2.0

log = logging.getLogger(__name__)

GetUntil = Callable[[str, tuple[int, ...]], Awaitable[tuple[int, Any]]]
"""GET a path for ever, until the status is one of those; returns status and answer."""


class IndexResolver:
    """What is known of the indices written to."""

    def __init__(self, settings: Settings, get_until: GetUntil, metrics: Metrics) -> None:
        self._settings = settings
        self._get_until = get_until
        self._metrics = metrics
        self._resolved: dict[str, tuple[str, float]] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self.problem = ""

    async def resolve(self, index: str) -> str:
        """The index to write to instead of `index`: mostly itself. Waits while the template is absent."""
        found = self._resolved.get(index)
        if found is not None and time.monotonic() < found[1]:
            return found[0]
        async with self._locks.setdefault(index, asyncio.Lock()):
            found = self._resolved.get(index)
            if found is None or time.monotonic() >= found[1]:
                found = self._resolved[index] = (await self._look_up(index), time.monotonic() + RECHECK_SECONDS)
            return found[0]

    async def _look_up(self, index: str) -> str:
        while True:
            status, answer = await self._get_until(f"/{index}/_mapping", (200, 404))
            if status == 404:
                if await self._template_exists(index):
                    return index
                await asyncio.sleep(RETRY_SECONDS)
                continue
            self._set_problem("")
            if any(index_template.is_owned_by_crisp(entry["mappings"].get("_meta")) for entry in answer.values()):
                return index
            prefix = self._settings.index_prefix
            instead = f"{prefix}-{index_template.OWNER}.{index.removeprefix(prefix + '-')}"
            log.error("the index %s is not crisp's: it is left alone, documents go to %s", index, instead)
            return instead

    async def _template_exists(self, index: str) -> bool:
        """Whether a new index would be ours; believed where the rights do not reach to look."""
        name = index_template.template_for(index, self._settings).name
        status, answer = await self._get_until(f"/_index_template/{name}", (200, 403, 404))
        if status == 403:
            return True
        found = answer.get("index_templates") if status == 200 else None
        if found and index_template.is_owned_by_crisp(found[0]["index_template"].get("_meta")):
            self._set_problem("")
            return True
        self._set_problem(f"the index template {name} is not there: run `crisp setup`")
        log.error("nothing is indexed: %s", self.problem)
        return False

    def _set_problem(self, problem: str) -> None:
        self.problem = problem
        self._metrics.set("crisp_worker_index_template_missing", float(bool(problem)))
