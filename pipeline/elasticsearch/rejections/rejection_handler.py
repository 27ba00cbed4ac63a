"""What becomes of documents that a bulk did not simply create: each is settled alone.

Settled is: created in some form, there already, or acknowledged in the dead-letter topic. What says nothing about the
document is tried again for ever; only what failed is sent again.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from pipeline.contract.dead_letter import DeadLetter
from pipeline.elasticsearch import bulk_response
from pipeline.elasticsearch.bulk_response import Item, Outcome
from pipeline.elasticsearch.bulk_sender import Bulks
from pipeline.elasticsearch.rejections.pending_document import CONTINUED, FORMS, Single
from pipeline.elasticsearch.rejections.rejection_log import Refusals
from pipeline.elasticsearch.rejections.rejection_rate import Flood
from pipeline.elasticsearch.retrying_client import Patience
from pipeline.monitoring.metrics import Metrics

log = logging.getLogger(__name__)

Dead = Callable[[DeadLetter], Awaitable[None]]
"""Puts a document into the dead-letter topic; returns when it is acknowledged there."""


class Settlement:
    """Settles singles; also tells a flood of refusals."""

    def __init__(self, bulks: Bulks, patience: Patience, metrics: Metrics, dead: Dead) -> None:
        self._bulks = bulks
        self._patience = patience
        self._metrics = metrics
        self._dead = dead
        self.flood = Flood()
        self.refusals = Refusals()

    def created(self, number: int) -> None:
        """Count documents that were created at the first try."""
        self._metrics.add("crisp_worker_documents", number, result="created")
        self._watch(number, 0)

    def look(self) -> None:
        """Let time pass for the flood: it is over also when nothing comes any more."""
        self._watch(0, 0)

    async def settle(self, singles: list[Single], items: list[Item]) -> None:
        """Return when each is settled; `items` are the answers to the first try, already counted where created."""
        pauses = self._patience.pauses()
        while True:
            left: list[Single] = []
            for single, item in zip(singles, items, strict=True):
                again = await self._next(single, item)
                if again is not None:
                    left.append(again)
            if not left:
                self._patience.recovered()
                return
            busy = next((item for item in items if item.outcome is Outcome.RETRY), None)
            if busy is not None:
                self._patience.failing(busy.reason)
                await asyncio.sleep(next(pauses))
            singles = left
            items = await self._bulks.answered(b"".join(single.lines() for single in singles), len(singles))
            self._count(singles, items)

    def _count(self, singles: list[Single], items: list[Item]) -> None:
        for single, item in zip(singles, items, strict=True):
            if item.outcome is Outcome.CREATED:
                self._metrics.add("crisp_worker_documents", result=single.outcome)
                self._watch(1, 0)

    async def _next(self, single: Single, item: Item) -> Single | None:
        """What has to be sent next for a document, None when it is settled."""
        if item.outcome is Outcome.CREATED:
            return None
        if item.outcome is Outcome.RETRY:
            return single
        if item.outcome is Outcome.THERE:
            if CONTINUED in single.id:
                return None  # beside the event, which is counted already
            self._metrics.add("crisp_worker_documents", result="duplicate")
            return await self._continued(single) if single.length else None
        if bulk_response.RACE in item.reason and not single.raced:
            single.raced = True
            return single
        self._refused(single, item)
        if single.last_form:
            await self._bury(single, item.reason)
            return None
        return single.safer(item.reason)

    def _refused(self, single: Single, item: Item) -> None:
        self._metrics.add("crisp_worker_documents_rejected", form=FORMS[single.form])
        if not single.form:
            self.refusals.add(single.source, item.reason, (single.index, single.id), time.time())
        self._watch(0, 1)
        log.warning("document refused for its content, a safer form is tried: %s", item.reason)

    def _watch(self, documents: int, refused: int) -> None:
        self.flood.add(documents, refused, time.monotonic())
        rises = self.flood.rises
        if rises and refused:
            log.error(
                "a flood of refusals: of late %d documents were refused; look at the template and the newest service",
                self.flood.refused,
            )

    async def _continued(self, single: Single) -> Single | None:
        """An event of several lines is there already; if ours reaches further, it goes in beside, flagged."""
        path = f"/{single.index}/_doc/{single.id}?_source_includes=log.length"
        _, stored = await self._patience.asked(path, (200, 404))
        length = (stored.get("_source") or {}).get("log.length", single.length)
        return single.continued() if length < single.length else None

    async def _bury(self, single: Single, reason: str) -> None:
        """Dead-letter a document, but only when its index takes another one: else the place is broken, not it."""
        canary = single.canary().lines()
        pauses = self._patience.pauses()
        while (item := (await self._bulks.answered(canary, 1))[0]).outcome not in (Outcome.CREATED, Outcome.THERE):
            self._patience.failing(f"the index {single.index} refuses even a plain document: {item.reason}")
            await asyncio.sleep(next(pauses))
        await self._dead(single.dead(reason))
        self._metrics.add("crisp_worker_documents", result="dead_lettered")
